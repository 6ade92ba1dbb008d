"""The layout: imports go down only, without circles, and no folder is a heap."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from polyrec import families, kinds

SCRIPT = Path(__file__).parents[1] / "tools" / "import_graph.py"


@pytest.fixture(scope="module")
def graph() -> ModuleType:
    spec = importlib.util.spec_from_file_location("import_graph", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["import_graph"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def edges(graph: ModuleType) -> list:
    return graph.imports()


def test_no_files_import_one_another(graph: ModuleType, edges: list):
    files = graph.of_files(edges)
    assert len(files) > 400
    assert graph.circles(files) == []


def test_no_rooms_import_one_another(graph: ModuleType, edges: list):
    rooms = graph.of_rooms(edges)
    assert {"polyrec.recommender", "polyrec.features", "polyrec.core", "polyrec.serve.stores"} <= rooms.keys()
    assert graph.circles(rooms) == []


def test_nothing_below_the_commands_imports_the_package_inside_a_function(edges: list):
    late = [edge for edge in edges if edge.is_inside_function and not edge.importer.startswith("polyrec.cli")]
    assert late == []


def test_no_import_for_types_hides_a_circle(graph: ModuleType, edges: list):
    """Imports for types are edges of the graph above like all others; below the commands there are none."""
    assert [edge for edge in edges if edge.is_for_types_only and not edge.importer.startswith("polyrec.cli")] == []


def test_nothing_imports_the_facade_from_below(graph: ModuleType, edges: list):
    above = ("cli", "demo", "compare", "tune", "serve", "report", "__main__")
    importers = {edge.importer for edge in edges if edge.imported == "polyrec.recommender"} - {"polyrec"}
    assert {importer for importer in importers if importer.split(".")[1] not in above} == set()


def test_no_folder_holds_more_files_than_one_can_look_over(graph: ModuleType):
    of_kinds = {kind.__module__ for family in families() for kind in kinds(family).values()}
    assert graph.crowded(of_kinds) == {}


class TestGraph:
    """The script sees what it is there to see."""

    def test_circles_are_seen(self, graph: ModuleType):
        assert graph.circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}) == [["a", "b", "c"]]
        assert graph.circles({"a": {"b"}, "b": set()}) == []

    def test_levels_put_each_name_below_all_that_import_it(self, graph: ModuleType):
        assert graph.levels({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()}) == [["a", "d"], ["b"], ["c"]]

    def test_imports_in_functions_and_for_types_are_told_apart(self, graph: ModuleType, tmp_path: Path):
        package = tmp_path / "polyrec"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "low.py").touch()
        (package / "high.py").write_text(
            "from typing import TYPE_CHECKING\nfrom polyrec import low\nif TYPE_CHECKING:\n    from polyrec.low import x\n"
            "def f():\n    try:\n        import polyrec.low\n    except ImportError:\n        pass\n"
        )
        found = [(edge.line, edge.is_inside_function, edge.is_for_types_only) for edge in graph.imports(package)]
        assert found == [(2, False, False), (4, False, True), (7, True, False)]
