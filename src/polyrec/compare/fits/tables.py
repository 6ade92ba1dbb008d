"""The two tables of a comparison: rows to learn from, and test rows, which no choice may use."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from polyrec.core.errors import UserError
from polyrec.core.files import sha256, write_parquet
from polyrec.data import splits
from polyrec.data.labels import fit_task, has_label, read_labels, with_numbers
from polyrec.data.read.sources import Source
from polyrec.data.splits import Rows
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task


@dataclass(frozen=True)
class Split:
    """The tables, and the files from which jobs read them."""

    learn: pl.DataFrame
    """Rows to learn from."""
    test: pl.DataFrame
    """Test rows."""
    learn_path: Path
    """File of the rows to learn from."""
    test_path: Path
    """File of the test rows."""
    how: str
    """How the test rows were chosen, in words."""


def split_tables(spec: Recommender, data: Source | Tables, test: Source | None, share: float, folder: Path) -> Split:
    """Read the tables, hold out the test rows unless they are given, and write both to a folder under names from hashes."""
    frame = join(data, Recommender.key(spec.user), Recommender.key(spec.item)).frame
    if test is not None:
        sides = Tables(test, data.users, data.items) if isinstance(data, Tables) else test
        learn, held = frame, join(sides, Recommender.key(spec.user), Recommender.key(spec.item)).frame
        how = "given as a table of their own"
    else:
        split = test_split(spec, share)
        mask = split.held_out(rows_of(spec, frame), 0)
        learn, held = frame.filter(~mask), frame.filter(mask)
        how = f"held out once by {split!r}"
    for task in spec.tasks:
        if not has_label(held, task):
            remedy = "Give test rows with the labels of all tasks."
            raise UserError("test rows", expected=f"the label of the task {task.name!r}", found="no such column", remedy=remedy)
    return Split(learn, held, _store(learn, folder), _store(held, folder), how)


def test_split(spec: Recommender, share: float) -> splits.Split:
    """Return the split of the declaration; its fraction, if it has one, becomes `share`."""
    split = spec.training.split
    return split.replace(fraction=share) if "fraction" in type(split).model_fields else split


def rows_of(spec: Recommender, frame: pl.DataFrame) -> Rows:
    """Return the rows as a split sees them: their number, users and times."""
    roles = spec.roles(frame)
    users = None if roles.user is None else frame[roles.user]
    times = None if roles.time is None else read_times(frame[roles.time])[0]
    return Rows(frame.height, users, times)


def whole_state(spec: Recommender, task: Task, learn: pl.DataFrame) -> pl.DataFrame:
    """Return the state of a task fitted to all rows to learn from; all models are judged in its classes and units."""
    labels = read_labels(learn, task)
    if task.numbers_of is None:
        return fit_task(task, labels)
    feature = next(feature for feature in spec.item if feature.name == task.numbers_of)
    values = learn.select(feature.columns)
    numbers_NL = feature.encode(values, feature.fit(values)).take(torch.arange(learn.height))
    assert isinstance(numbers_NL, torch.Tensor)
    return fit_task(task, with_numbers(labels, numbers_NL))


def _store(frame: pl.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".table.", dir=folder)
    os.close(handle)
    write_parquet(Path(name), frame)
    path = folder / f"{sha256(Path(name))[:24]}.parquet"
    Path(name).replace(path)
    return path
