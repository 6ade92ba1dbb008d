"""The import graph of the package: its rooms, from the top down, and what must not be in it.

A room is a folder; the files directly in it belong to it. Run it for a picture in words, or as a picture:

    python tools/import_graph.py [--svg FILE]
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "polyrec"

Graph = Mapping[str, set[str]]
"""Names, each with those that it imports."""

MOST_FILES = 20
"""Files of Python that a folder may hold beside its kinds."""


@dataclass(frozen=True)
class Import:
    """One import of a module of the package."""

    importer: str
    imported: str
    line: int
    is_inside_function: bool
    is_for_types_only: bool


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the files of the package by module name; a folder's `__init__` has the folder's name."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(package: Path = PACKAGE) -> list[Import]:
    """Return every import of a module of the package by another, of those inside functions and for types too."""
    files = modules(package)
    found = []
    for importer, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, is_inside_function, is_for_types_only in _walk(tree.body, False, False):
            for name in _imported(node):
                imported = name if name in files else name.rpartition(".")[0]
                if imported in files and imported != importer:
                    found.append(Import(importer, imported, node.lineno, is_inside_function, is_for_types_only))
    return found


def circles(graph: Graph) -> list[list[str]]:
    """Return the sets of names that import one another, by Tarjan's algorithm (1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            position = stack.index(name)
            members = sorted(stack[position:])
            del stack[position:]
            if len(members) > 1:
                found.append(members)

    sys.setrecursionlimit(10_000)
    for name in sorted(graph):
        if name not in number:
            visit(name)
    return found


def of_files(edges: Iterable[Import]) -> dict[str, set[str]]:
    """Return the graph of the files."""
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for edge in edges:
        graph[edge.importer].add(edge.imported)
    return graph


def of_rooms(edges: Iterable[Import]) -> dict[str, set[str]]:
    """Return the graph of the rooms.

    The `__init__` of a folder lists names of the folder for users; no file below reads it, so that it belongs to no room.
    """
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    graph: dict[str, set[str]] = {}
    for edge in edges:
        if edge.importer in packages or edge.imported in packages:
            continue
        importer, imported = _room(edge.importer), _room(edge.imported)
        graph.setdefault(importer, set())
        graph.setdefault(imported, set())
        if importer != imported:
            graph[importer].add(imported)
    return graph


def _room(module: str) -> str:
    """Return the folder of a module; a module that is in no folder is a room."""
    return module if module.count(".") == 1 else module.rpartition(".")[0]


def levels(graph: Graph) -> list[list[str]]:
    """Return the names of a graph without circles, each below all that import it, the top first."""
    importers = {name: {other for other, below in graph.items() if name in below} for name in graph}
    rows: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(graph):
        row = sorted(name for name in graph if name not in placed and importers[name] <= placed)
        assert row, "a graph with a circle has no levels"
        rows.append(row)
        placed.update(row)
    return rows


def crowded(kinds: Iterable[str], package: Path = PACKAGE) -> dict[str, int]:
    """Return the folders that hold more than `MOST_FILES` files of Python beside the modules of `kinds`, with the number."""
    of_kinds = set(kinds)
    counts: dict[str, int] = {}
    for name, path in modules(package).items():
        if path.name != "__init__.py" and name not in of_kinds:
            folder = path.parent.relative_to(package.parent).as_posix()
            counts[folder] = counts.get(folder, 0) + 1
    return {folder: count for folder, count in counts.items() if count > MOST_FILES}


def _walk(body: Sequence[ast.stmt], inside: bool, types: bool) -> Iterable[tuple[ast.stmt, bool, bool]]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, inside, types
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        is_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for name in ("body", "orelse", "finalbody"):
            yield from _walk(getattr(node, name, []), inside or is_function, types or (is_types and name == "body"))
        for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
            yield from _walk(part.body, inside, types)


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name the package in full"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    assert isinstance(node, ast.Import)
    return [alias.name for alias in node.names]


def contract() -> list[list[str]]:
    """Return the rows of the contract in pyproject.toml, the top first: a row imports only rows below it."""
    settings = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    return [[room.strip() for room in row.split("|")] for row in settings["tool"]["importlinter"]["contracts"][0]["layers"]]


def draw(graph: Graph) -> str:
    """Return the rooms as SVG: a row of the contract a row, and an arrow to what a room imports and reaches no other way."""
    rows = contract()
    rooms = {name: {_top(other) for other in _below(graph, name)} - {name} for name in {_top(name) for name in graph}}
    width, step, box = 960, 62, 30
    place = {
        f"polyrec.{name}": (width * (position + 1) / (len(row) + 1), step * number + 32)
        for number, row in enumerate(rows)
        for position, name in enumerate(row)
    }
    size = f'viewBox="0 0 {width} {step * len(rows) + 8}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for name, below in sorted(rooms.items()):
        for other in sorted(_direct(rooms, below)):
            (x1, y1), (x2, y2) = place[name], place[other]
            curve = f"C{x1:.0f},{y1 + 44:.0f} {x2:.0f},{y2 - 44:.0f} {x2:.0f},{y2 - box / 2:.0f}"
            parts.append(f'<path d="M{x1:.0f},{y1 + box / 2:.0f} {curve}" fill="none" stroke="#b3bcc7"/>')
    for name, (x, y) in place.items():
        label = escape(name.removeprefix("polyrec."))
        half = max(4.2 * len(label) + 12, 40)
        frame = f'x="{x - half:.0f}" y="{y - box / 2:.0f}" width="{2 * half:.0f}" height="{box}" rx="6"'
        parts.append(f'<rect {frame} fill="#eef4fb" stroke="#0072b2"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _top(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _below(graph: Graph, name: str) -> set[str]:
    """Return what a room of the top folder and the rooms within it import."""
    return {other for room, others in graph.items() if _top(room) == name for other in others if _top(other) != name}


def _direct(rooms: Graph, below: set[str]) -> set[str]:
    """Return the rooms that are imported and not reached through another one that is."""

    def reached(start: str) -> set[str]:
        return rooms[start].union(*(reached(other) for other in rooms[start]))

    return {other for other in below if not any(other in reached(way) for way in below - {other})}


def _arrows(graph: Graph) -> int:
    return sum(len(below) for below in graph.values())


def main() -> int:
    """Print the rooms by level and every circle; return 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, help="file for the picture")
    options = parser.parse_args()
    edges = imports()
    files, rooms = of_files(edges), of_rooms(edges)
    wrong = circles(files) + circles(rooms)
    print(f"{len(files)} files, {_arrows(files)} imports; {len(rooms)} rooms, {_arrows(rooms)} arrows")
    for circle in wrong:
        print("circle:", ", ".join(circle))
    if not wrong:
        for number, row in enumerate(levels(rooms)):
            print(f"{number:3d}  " + "  ".join(name.removeprefix("polyrec.") for name in row))
        if options.svg:
            options.svg.write_text(draw(rooms), encoding="utf-8")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
