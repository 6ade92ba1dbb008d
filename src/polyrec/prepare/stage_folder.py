"""A `Stage` in a folder: tensors mapped into memory, states and frames as Parquet, and a manifest that locates them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from polyrec.artifact.facts import DataFacts, Frames
from polyrec.core.files import read_parquet, write_parquet
from polyrec.core.names import MANIFEST_FILE
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Roles
from polyrec.prepare.blocks import BlockReader
from polyrec.prepare.columns_file import ColumnsWriter, read_tree
from polyrec.prepare.stage import Keep, Stage, keep_column

IN_MEMORY = 2**31
"""Bytes of prepared rows up to which all of them may be in memory and are shuffled exactly. It does not depend on the machine,
so that a seed gives the same order everywhere."""

_FOR_ORDER = 8
"""Bytes of memory per row for the order of the rows."""

ROWS_FILE, HELD_FILE = "rows.bin", "held.bin"

Prepare = Callable[[Keep, Keep], Stage]
"""Prepares a stage; passes every tensor of the training rows to the first `Keep`, of the held-out rows to the second."""


def write_stage(folder: Path, prepare: Prepare) -> None:
    """Prepare a stage into a folder, column by column; at most one column is in memory at a time."""
    with ColumnsWriter(folder / ROWS_FILE) as rows, ColumnsWriter(folder / HELD_FILE) as held:
        stage = prepare(rows, held)
        manifest: dict[str, Any] = {
            "rows": rows.tree(stage.rows),
            "held": None if stage.held is None else held.tree(stage.held),
            "users": None if stage.users is None else held.place(stage.users),
            "observed": dict(stage.observed),
            "data": None if stage.data is None else asdict(stage.data),
        }
    if stage.rows.group_N is not None and _is_large(folder / ROWS_FILE, stage.rows.rows):
        manifest["rows"] = _by_group(folder, manifest["rows"])
    for kind, frames in (
        ("features", stage.features),
        ("tasks", stage.tasks),
        ("frames", {} if stage.frames is None else stage.frames.by_name()),
    ):
        manifest[kind] = {}
        for number, (name, frame) in enumerate(frames.items()):
            manifest[kind][name] = f"{kind}-{number}.parquet"
            write_parquet(folder / manifest[kind][name], frame)
    manifest["files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def read_stage(folder: Path) -> Stage:
    """Read a stage; raise `OSError`, `ValueError`, `KeyError` or `UserError` if its folder is incomplete."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    for name, size in manifest["files"].items():
        if (current_size := (folder / name).stat().st_size) != size:
            raise ValueError(f"'{folder / name}' has {current_size} bytes instead of {size}")
    held, users, data = None, None, manifest["data"]
    if manifest["held"] is not None:
        held = _mapped(folder / HELD_FILE, manifest["held"], always=True)
    if manifest["users"] is not None:
        offset, kind, shape = manifest["users"]
        users = torch.from_numpy(np.fromfile(folder / HELD_FILE, kind, math.prod(shape), offset=offset))
    return Stage(
        _frames(folder, manifest["features"]),
        _frames(folder, manifest["tasks"]),
        _mapped(folder / ROWS_FILE, manifest["rows"]),
        manifest["observed"],
        held,
        users,
        Frames(**_frames(folder, manifest["frames"])) if manifest["frames"] else None,
        None if data is None else DataFacts(**{**data, "roles": Roles(**data["roles"])}),
    )


def _mapped(path: Path, tree: Mapping[str, Any], always: bool = False) -> Prepared:
    """Map rows from a file; read them block by block if they are too large for memory, unless `always` is set."""
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
    """Sort the rows by group, so that blocks of rows hold complete groups; return the new tree."""
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
        sorted_tree = keep.tree(sorted_rows)
    sorted_path.replace(path)
    return sorted_tree
