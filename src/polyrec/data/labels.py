"""Labels of tasks, from columns and SQL expressions; and the guard against features that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from torch import Tensor

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import columns_of, evaluate
from polyrec.features.feature import Feature
from polyrec.tasks.order import with_earlier
from polyrec.tasks.task import NUMBERS, State, Task

LABEL = "label"
"""The role of the label itself among the expressions of a task."""


def read_labels(frame: pl.DataFrame, task: Task) -> pl.Series:
    """Return a task's label in every row; null means "not observed".

    A task that reads more than its label has a struct of them, null as a whole where the label is null; where a task relates
    rows only the label in it is null, for such a row still stands among the others.
    """
    columns = {role: evaluate(frame, expression, _thing(task)) for role, expression in task.expressions.items()}
    if len(columns) == 1:
        return columns[LABEL]
    struct = pl.DataFrame([column.alias(role) for role, column in columns.items()]).to_struct(LABEL)
    if task.relates_rows:
        return struct
    return struct.zip_with(columns[LABEL].is_not_null(), pl.Series(LABEL, [None], dtype=struct.dtype))


def with_numbers(labels: pl.Series, numbers_NL: Tensor) -> pl.Series:
    """Return a struct of the label and, beside it, the numbers that a feature has of the row's item."""
    numbers = pl.Series(NUMBERS, numbers_NL.numpy(), dtype=pl.Array(pl.Int32, numbers_NL.shape[1]))
    return pl.DataFrame([label_of(labels).alias(LABEL), numbers]).to_struct(LABEL)


def observed_labels(labels: pl.Series) -> pl.Series:
    """Return the labels that are not null; of structs, those whose label is not."""
    return labels.filter(label_of(labels).is_not_null())


def fit_task(task: Task, labels: pl.Series, before: State | None = None) -> State:
    """Return what a task learns from labels, or what its state `before` becomes by them: from those observed, or, where it
    relates rows, from all rows."""
    read = labels if task.relates_rows else observed_labels(labels)
    return task.fit(read) if before is None else task.grow(read, before)


def has_label(frame: pl.DataFrame, task: Task) -> bool:
    """Whether the frame holds the columns that a task reads."""
    return all(column in frame.columns for column in task_columns(task))


def task_columns(task: Task) -> tuple[str, ...]:
    """Return the columns that a task reads, its label's first."""
    every = [columns_of(expression, _thing(task)) for expression in (task.label, *task.expressions.values())]
    return tuple(dict.fromkeys(column for columns in every for column in columns))


def label_columns(task: Task) -> tuple[str, ...]:
    """Return the columns that a task's label reads."""
    return columns_of(task.label, _thing(task))


def check_learnable(labels: pl.Series, task: Task) -> None:
    """Raise `UserError` for a label from which nothing can be learned: all null, or one value throughout."""
    observed = label_of(labels).drop_nulls()
    if len(observed) == 0:
        raise task.wrong_labels(
            "at least one observed label", f"null in all {len(labels)} rows", "Check the label or drop the task."
        )
    if task.needs_contrast and observed.n_unique() == 1:
        remedy = "Check the expression, or drop the task."
        raise task.wrong_labels("two values or more", f"{observed[0]!r} in all {len(observed)} observed rows", remedy)


def refuse_leakage(
    tasks: Sequence[Task], features: Mapping[str, Feature], views: Mapping[str, Sequence[frozenset[str]]]
) -> None:
    """Raise `UserError` where a task, or one that it comes after, may see a feature that reads a column of its label.

    A history never reads its own row, so its elements and its condition may name a label.
    """
    by_name = {task.name: task for task in tasks}
    for task in tasks:
        held = set(label_columns(task))
        seen = (view for own in with_earlier(task, by_name) for view in views[own])
        for name in sorted(frozenset().union(*seen)):
            for column in features[name].columns:
                if column in held:
                    raise UserError(
                        f"feature {name!r} of the task {task.name!r}",
                        expected="columns known before the label",
                        found=f"the column {column!r}, which the label {task.label!r} reads",
                        remedy="Drop the feature, or keep it from this task with `inputs=`.",
                    )


def label_of(labels: pl.Series) -> pl.Series:
    """Return the label alone, whatever stands beside it."""
    is_struct = isinstance(labels.dtype, pl.Struct) and any(field.name == LABEL for field in labels.dtype.fields)
    return labels.struct.field(LABEL) if is_struct else labels


def _thing(task: Task) -> str:
    return f"label of the task {task.name!r}"
