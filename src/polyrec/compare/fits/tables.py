"""The two tables of a comparison: rows to learn from, and test rows that no choice may see."""

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
    """The tables, and the files that the jobs read them from."""

    learn: pl.DataFrame
    test: pl.DataFrame
    learn_path: Path
    test_path: Path
    how: str
    """How the test rows were chosen, for people."""


def split_tables(spec: Recommender, data: Source | Tables, test: Source | None, share: float, folder: Path) -> Split:
    """Read the tables, hold the test rows out unless they are given, and write both to a folder, named by their content."""
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
    """Return the declaration's own split, which holds out a share of the rows to test on where it goes by shares."""
    split = spec.training.split
    return split.replace(fraction=share) if "fraction" in type(split).model_fields else split


def rows_of(spec: Recommender, frame: pl.DataFrame) -> Rows:
    """Return what a split may look at."""
    roles = spec.roles(frame)
    users = None if roles.user is None else frame[roles.user]
    times = None if roles.time is None else read_times(frame[roles.time])[0]
    return Rows(frame.height, users, times)


def whole_state(spec: Recommender, task: Task, learn: pl.DataFrame) -> pl.DataFrame:
    """Return what a task learns from all rows but those of the test: in its terms all models are judged."""
    labels = read_labels(learn, task)
    if task.numbers_of is None:
        return fit_task(task, labels)
    feature = next(own for own in spec.item if own.name == task.numbers_of)
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
