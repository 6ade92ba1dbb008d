"""What every kind of a family must keep, whoever wrote it: a test that asks for `task` runs for every example of every task.

A kind is known from the moment that it is defined, so a kind from outside the package is tested too. Name the modules that
define such kinds in the environment variable POLYREC_TEST_KINDS, separated by commas:

    POLYREC_TEST_KINDS=my_tasks,my_package.networks pytest tests/contracts

The contracts supply columns and tasks for the examples of a kind, so an example must satisfy three conditions. It runs offline.
Where it names tasks, as a weight does, it names only `like` and `stars`. Where it names features, as a derived feature does, it
names only `user_id`, `age` and `profile` of the user and `item_id` and `text` of the item, and in a SQL condition on the log
only `rating`.
"""

import importlib
import os
from collections.abc import Iterator

import pytest
import torch

from polyrec import families, kinds
from polyrec.core.spec import Family
from polyrec.features.derived import Derived
from polyrec.features.history import History

for module in filter(None, (name.strip() for name in os.environ.get("POLYREC_TEST_KINDS", "").split(","))):
    importlib.import_module(module)

ARGUMENTS = {
    "task": "tasks",
    "network": "networks",
    "balancer": "balancers",
    "fusion": "fusions",
    "calibrator": "calibrators",
    "trunk": "trunks",
    "pooling": "poolings",
    "link": "links",
    "rule": "rules",
}
"""Families by the argument that stands for an example of one of their kinds."""


def examples(family: str, base: type[Family] = Family, but: tuple[type[Family], ...] = ()) -> list:
    """Return every example of the kinds of a family below `base` and not below `but`, each under a readable name."""
    return [
        pytest.param(kind(**example), id=f"{name}{position}")
        for name, kind in kinds(family).items()
        if issubclass(kind, base) and not issubclass(kind, but)
        for position, example in enumerate(kind.examples)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for argument, family in ARGUMENTS.items():
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, examples(family), scope="module")
    if "feature" in metafunc.fixturenames:
        metafunc.parametrize("feature", examples("features", but=(Derived,)), scope="module")
    if "derived" in metafunc.fixturenames:
        metafunc.parametrize("derived", examples("features", Derived), scope="module")
    if "history" in metafunc.fixturenames:
        metafunc.parametrize("history", examples("features", History))
    if "kind" in metafunc.fixturenames:
        every = [pytest.param(kind, id=f"{family}-{name}") for family in families() for name, kind in kinds(family).items()]
        metafunc.parametrize("kind", every)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Encode texts anew: a vector from an earlier run would hide an encoder that has changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """Run tensors of a few numbers on one thread: sharing them out costs more than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
