"""A `Stage` in a folder: numbers mapped into memory, states and frames as Parquet, a manifest that says what is where."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from polyrec.core.files import read_parquet, write_parquet
from polyrec.core.names import MANIFEST_FILE
from polyrec.data.prepared import Prepared
from polyrec.prepare.blocks import BlockReader
from polyrec.prepare.columns_file import ColumnsWriter, read_tree
from polyrec.prepare.stage import Keep, Stage, keep_column

IN_MEMORY = 2**31
"""Bytes of prepared rows up to which they may all be in memory, and are shuffled exactly. It does not depend on the machine, so
that a seed means the same order everywhere."""

_FOR_ORDER = 8
"""Bytes that the order of rows takes in memory for each of them."""

ROWS_FILE, HELD_FILE = "rows.bin", "held.bin"

Prepare = Callable[[Keep, Keep], Stage]
"""Prepares a stage, handing every tensor of the rows to train on to the first, and of those held out to the second."""


def write_stage(folder: Path, prepare: Prepare) -> None:
    """Prepare a stage into a folder, column by column, so that never more than one column is in memory."""
    with ColumnsWriter(folder / ROWS_FILE) as rows, ColumnsWriter(folder / HELD_FILE) as held:
        stage = prepare(rows, held)
        told: dict[str, Any] = {
            "rows": rows.tree(stage.rows),
            "held": None if stage.held is None else held.tree(stage.held),
            "users": None if stage.users is None else held.place(stage.users),
            "observed": dict(stage.observed),
            "facts": dict(stage.facts),
        }
    if stage.rows.group_N is not None and _is_large(folder / ROWS_FILE, stage.rows.rows):
        told["rows"] = _by_group(folder, told["rows"])
    for kind, frames in (("features", stage.features), ("tasks", stage.tasks), ("frames", stage.frames)):
        told[kind] = {}
        for number, (name, frame) in enumerate(frames.items()):
            told[kind][name] = f"{kind}-{number}.parquet"
            write_parquet(folder / told[kind][name], frame)
    told["files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / MANIFEST_FILE).write_text(json.dumps(told, indent=1), encoding="utf-8")


def read_stage(folder: Path) -> Stage:
    """Read a stage that was written whole; raises `OSError`, `ValueError`, `KeyError` or `UserError` where it was not."""
    told = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    for name, size in told["files"].items():
        if (found := (folder / name).stat().st_size) != size:
            raise ValueError(f"'{folder / name}' has {found} bytes instead of {size}")
    held, users = None, None
    if told["held"] is not None:
        held = _mapped(folder / HELD_FILE, told["held"], always=True)
    if told["users"] is not None:
        offset, kind, shape = told["users"]
        users = torch.from_numpy(np.fromfile(folder / HELD_FILE, kind, math.prod(shape), offset=offset))
    return Stage(
        _frames(folder, told["features"]),
        _frames(folder, told["tasks"]),
        _mapped(folder / ROWS_FILE, told["rows"]),
        told["observed"],
        held,
        users,
        _frames(folder, told["frames"]),
        told["facts"],
    )


def _mapped(path: Path, tree: Mapping[str, Any], always: bool = False) -> Prepared:
    """Map rows from a file; where they are too large for memory, they are read block by block."""
    with path.open("rb") as file:
        prepared = read_tree(file, tree)
    if always or not _is_large(path, prepared.rows):
        return prepared
    return replace(prepared, read_blocks=BlockReader(path, tree, prepared))


def _is_large(path: Path, rows: int) -> bool:
    return path.stat().st_size + _FOR_ORDER * rows > IN_MEMORY


def _frames(folder: Path, files: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    return {name: read_parquet(folder / file) for name, file in files.items()}


def _by_group(folder: Path, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Put the rows of each group next to each other, so that blocks of rows hold whole groups; return the new tree."""
    path, sorted_path = folder / ROWS_FILE, folder / f"{ROWS_FILE}.sorted"
    with path.open("rb") as file, ColumnsWriter(sorted_path) as keep:
        group_N = read_tree(file, tree).group_N
        assert group_N is not None
        order_N = torch.argsort(group_N, stable=True)
        parts: dict[str, Any] = {"columns": {}, "targets": {}, "masks": {}}
        for name in tree["columns"]:
            parts["columns"][name] = keep_column(read_tree(file, tree).columns[name].at(order_N), keep)
        for kind in ("targets", "masks"):
            for name in tree[kind]:
                parts[kind][name] = keep(getattr(read_tree(file, tree), kind)[name][order_N])
        items = read_tree(file, tree).items
        if len(items.rows_I):
            place_N = torch.empty_like(order_N)
            place_N[order_N] = torch.arange(len(order_N))
            targets = {name: keep(target.clone()) for name, target in items.targets.items()}
            items = replace(items, rows_I=keep(place_N[items.rows_I]), targets=targets)
        sorted_rows = Prepared(rows=len(order_N), group_N=keep(group_N[order_N]), items=items, **parts)
        told = keep.tree(sorted_rows)
    sorted_path.replace(path)
    return told
