"""`Table`: a wide table with what a declaration reads off it, and how it is split for training and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from polyrec.data.expressions import require_columns
from polyrec.data.histories import TIME, USER, Log
from polyrec.data.labels import read_labels, task_columns
from polyrec.data.prepared import require_features
from polyrec.data.sources import Source
from polyrec.data.splits import Rows
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.recommender import Recommender, Roles
from polyrec.train.training import Training


@dataclass(frozen=True)
class Table:
    """A wide table with what was read off it: labels, times, roles."""

    frame: pl.DataFrame
    labels: Mapping[str, pl.Series]
    roles: Roles
    clock: str | None
    rows: pl.DataFrame
    """User and time of each row, as far as declared, under the names that histories use."""

    def filter(self, mask: pl.Series) -> Table:
        """Return some of the rows."""
        labels = {name: series.filter(mask) for name, series in self.labels.items()}
        return Table(self.frame.filter(mask), labels, self.roles, self.clock, self.rows.filter(mask))

    def log(self) -> Log | None:
        """Return the rows as a log for histories, where users and times are known."""
        if USER not in self.rows.columns or TIME not in self.rows.columns:
            return None
        return Log.of(self.rows.hstack(self.frame))


def read_table(spec: Recommender, frame: pl.DataFrame, like: Table | None = None) -> Table:
    """Check that the columns are there, and read labels and times."""
    require_features(frame, spec.all_features)
    for task in spec.tasks:
        require_columns(frame, task_columns(task), f"label of the task {task.name!r}")
    roles = spec.roles(frame) if like is None else like.roles
    labels = {task.name: read_labels(frame, task) for task in spec.tasks}
    clock, rows = None, pl.DataFrame()
    if roles.user is not None:
        rows = frame.select(pl.col(roles.user).alias(USER))
    if roles.time is not None:
        require_columns(frame, (roles.time,), "the time of each row")
        times, clock = read_times(frame[roles.time], None if like is None else like.clock)
        rows = rows.with_columns(times.alias(TIME)) if rows.width else times.alias(TIME).to_frame()
    if not rows.width:
        rows = pl.DataFrame({"row": pl.int_range(frame.height, eager=True)})
    return Table(frame, labels, roles, clock, rows)


def split_table(
    table: Table, spec: Recommender, data: Source | Tables, validation: Source | None, training: Training
) -> tuple[Table, Table]:
    """Return the rows to train on and the rows to validate on: those given, or those that the training's split holds out."""
    if validation is not None:
        sides = Tables(validation, data.users, data.items) if isinstance(data, Tables) else validation
        frame = join(sides, table.roles.user, table.roles.item).frame
        return table, read_table(spec, frame, like=table)
    columns = table.rows.columns
    users = table.rows[USER] if USER in columns else None
    times = table.rows[TIME] if TIME in columns else None
    mask = training.split.held_out(Rows(table.frame.height, users, times), training.seed)
    return table.filter(~mask), table.filter(mask)


def concat_tables(first: Table, second: Table) -> Table:
    """Return the rows of both, with the columns that both have."""
    shared = [name for name in first.frame.columns if name in second.frame.columns]
    frame = pl.concat([first.frame.select(shared), second.frame.select(shared)], how="vertical_relaxed")
    labels = pl.concat([pl.DataFrame(first.labels), pl.DataFrame(second.labels)], how="vertical_relaxed")
    rows = pl.concat([first.rows, second.rows], how="vertical_relaxed")
    return Table(frame, {name: labels[name] for name in labels.columns}, first.roles, first.clock, rows)


def frame_hash(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of a frame's Arrow stream: the same values, types and order give the same hash."""
    sink = hashlib.sha256()

    class _Sink:
        def write(self, data: bytes) -> int:
            sink.update(data)
            return len(data)

    frame.rechunk().write_ipc_stream(_Sink())  # type: ignore[call-overload]
    return sink.hexdigest()
