"""The public surface: what `__all__` lists exists, and nothing public is there that is not listed."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import polyrec
from polyrec import families, kinds

NAMESPACES = (
    "artifact", "balancing", "calibration", "compare", "compare.text", "data", "datasets", "declaration", "evaluate",
    "evaluate.off_policy", "features", "fit", "fusion", "index", "language", "networks", "poolings", "predict", "ranges",
    "rules", "serve.stores", "serve.versions", "tasks", "train", "trunks", "tune", "writing",
)  # fmt: skip
"""The documented places beside `polyrec`."""


def _public(module: ModuleType) -> set[str]:
    """Return the names that a module has and that are neither private nor modules."""
    return {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}


def _classes() -> set[type]:
    """Return the classes of all namespaces."""
    modules = [importlib.import_module(f"polyrec.{name}") for name in NAMESPACES]
    return {value for module in modules for value in vars(module).values() if inspect.isclass(value)}


@pytest.mark.parametrize("name", ["polyrec", *(f"polyrec.{name}" for name in NAMESPACES)])
def test_all_that_is_listed_exists_and_all_that_exists_is_listed(name: str):
    module = importlib.import_module(name)
    listed = set(module.__all__)
    assert len(module.__all__) == len(listed)
    assert listed - vars(module).keys() == set()
    assert _public(module) - listed == set()
    assert module.__doc__


def test_every_package_that_lists_names_is_a_namespace():
    packages = [info.name for info in pkgutil.walk_packages(polyrec.__path__, "polyrec.") if info.ispkg]
    listing = {name.removeprefix("polyrec.") for name in packages if hasattr(importlib.import_module(name), "__all__")}
    assert listing == set(NAMESPACES)


def test_every_kind_is_at_the_top_and_in_a_namespace():
    listed = {
        value: name
        for name in NAMESPACES
        for value in vars(importlib.import_module(f"polyrec.{name}")).values()
        if inspect.isclass(value)
    }
    for family in families():
        for name, kind in kinds(family).items():
            if kind.__module__.startswith("polyrec."):
                assert getattr(polyrec, name) is kind
                assert kind in listed, f"{name} of {family}"


def test_the_base_of_every_family_is_in_a_namespace():
    listed = {
        value
        for name in NAMESPACES
        for value in vars(importlib.import_module(f"polyrec.{name}")).values()
        if inspect.isclass(value)
    }
    bases = {base for family, base in families().items() if base.__module__.startswith("polyrec.")}
    assert bases - listed == set()


def test_fitted_and_recommender_show_no_internals():
    """What users call and read, and nothing else."""
    assert {name for name in dir(polyrec.Fitted) if not name.startswith("_")} == {
        "can_rank", "catalogue", "curves", "encode", "evaluate", "export", "fused", "gates", "has_score", "item_key", "items",
        "load", "predict", "predict_tensors", "raw_tensors", "recommend", "save", "score", "seen_pairs", "tabulate", "top_rows",
        "tune_fusion", "user_key", "weights_of", "with_items",
    }  # fmt: skip
