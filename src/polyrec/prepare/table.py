"""`Table`: a wide table with its labels, times and roles, and its split into training and validation rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.encoding import require_features
from polyrec.data.labels import read_labels, task_columns
from polyrec.data.log import TIME, USER, Log
from polyrec.data.read.sources import Source
from polyrec.data.read.wide import Lazy, Stacked, WideTable
from polyrec.data.splits import Rows
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.declaration.declaration import Declaration, Roles
from polyrec.declaration.training import Training
from polyrec.features.text_feature import TextFeature


@dataclass(frozen=True)
class Table:
    """A wide table with its labels, times and roles."""

    frame: WideTable
    labels: Mapping[str, pl.Series]
    roles: Roles
    clock: str | None
    rows: pl.DataFrame
    """User and time of each row, if declared, under the names that histories use."""

    def filter(self, mask: pl.Series) -> Table:
        """Return some of the rows."""
        labels: Mapping[str, pl.Series]
        if isinstance(self.labels, Lazy):
            labels = Lazy(self.labels.names, lambda name: self.labels[name].filter(mask))
        else:
            labels = {name: series.filter(mask) for name, series in self.labels.items()}
        return Table(self.frame.filter(mask), labels, self.roles, self.clock, self.rows.filter(mask))

    def log(self, columns: Sequence[str]) -> Log | None:
        """Return the rows as a log for histories, with some of the columns; None if users or times are not declared."""
        if USER not in self.rows.columns or TIME not in self.rows.columns:
            return None
        return Log.of(self.logged(columns))

    def logged(self, columns: Sequence[str]) -> pl.DataFrame:
        """Return the user and time of each row, if declared, and some of the columns."""
        return self.rows.hstack(self.frame.select(columns)) if columns else self.rows


def read_table(spec: Declaration, frame: WideTable, like: Table | None = None) -> Table:
    """Require the declared columns, and read labels and times; labels of a table that is not in memory are read on access."""
    require_features(frame, spec.all_features)
    for task in spec.tasks:
        require_columns(frame, task_columns(task), f"label of the task {task.name!r}")
    roles = spec.roles(frame) if like is None else like.roles
    labels = _labels(spec, frame)
    clock, rows = None, pl.DataFrame()
    if roles.user is not None:
        rows = frame.select([roles.user]).select(pl.col(roles.user).alias(USER))
    if roles.time is not None:
        require_columns(frame, (roles.time,), "the time of each row")
        times, clock = read_times(frame.select([roles.time])[roles.time], None if like is None else like.clock)
        rows = rows.with_columns(times.alias(TIME)) if rows.width else times.alias(TIME).to_frame()
    _refuse_later_texts(spec, frame, rows, clock)
    if not rows.width:
        rows = pl.DataFrame({"row": pl.int_range(frame.height, eager=True)})
    return Table(frame, labels, roles, clock, rows)


def _refuse_later_texts(spec: Declaration, frame: WideTable, rows: pl.DataFrame, clock: str | None) -> None:
    """Refuse texts written at or after the time of their row, if the declaration has a column of writing times."""
    for text in (feature for feature in spec.all_features if isinstance(feature, TextFeature) and feature.written is not None):
        assert text.written is not None
        thing = f"text {text.name!r}"
        require_columns(frame, (text.written,), f"the time at which the {thing} was written")
        if clock is None:
            remedy = "Name the column of the time: Recommender(time=…), or leave out `written`."
            raise UserError(thing, expected="a time of each row to compare `written` with", found="none", remedy=remedy)
        values = frame.select([*dict.fromkeys((text.written, *text.columns))])
        is_timed = values[text.written].is_not_null() & (text.render(values) != "")
        written, _ = read_times(values[text.written].filter(is_timed), clock)
        late = int((written >= rows[TIME].filter(is_timed)).sum())
        if late:
            raise UserError(
                thing,
                expected="texts written before the time of their row",
                found=f"{late} of {frame.height} rows whose {text.written!r} is that time or later",
                remedy="Set the text to null in these rows, or use the text as it was before that time.",
            )


def _labels(spec: Declaration, frame: WideTable) -> Mapping[str, pl.Series]:
    if isinstance(frame, pl.DataFrame):
        return {task.name: read_labels(frame, task) for task in spec.tasks}
    by_name = {task.name: task for task in spec.tasks}

    def read(name: str) -> pl.Series:
        return read_labels(frame.select(task_columns(by_name[name]) or frame.columns[:1]), by_name[name])

    return Lazy(tuple(by_name), read)


def split_table(
    table: Table,
    spec: Declaration,
    data: Source | Tables,
    validation: Source | None,
    training: Training,
    read_wide: Callable[[Source, str], WideTable] | None = None,
) -> tuple[Table, Table]:
    """Return training and validation rows: the given validation table, or the rows that the training's split holds out."""
    if validation is not None:
        sides = Tables(validation, data.users, data.items) if isinstance(data, Tables) else validation
        frame = join(sides, table.roles.user, table.roles.item, read_wide).wide
        return table, read_table(spec, frame, like=table)
    columns = table.rows.columns
    users = table.rows[USER] if USER in columns else None
    times = table.rows[TIME] if TIME in columns else None
    mask = training.split.held_out(Rows(table.frame.height, users, times), training.seed)
    return table.filter(~mask), table.filter(mask)


def concat_tables(first: Table, second: Table) -> Table:
    """Concatenate the rows of two tables, with their common columns."""
    rows = pl.concat([first.rows, second.rows], how="vertical_relaxed")

    def read(name: str) -> pl.Series:
        both = [table.labels[name].alias("label").to_frame() for table in (first, second)]
        return pl.concat(both, how="vertical_relaxed")["label"]

    return Table(Stacked(first.frame, second.frame), Lazy(tuple(first.labels), read), first.roles, first.clock, rows)
