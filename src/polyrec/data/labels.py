"""Labels of tasks, from columns and SQL expressions; and the check that no feature leaks a label."""

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

    A task that reads more than its label gets a struct, which is null if the label is null. If the task relates rows, only the
    label inside the struct is null, because the row still counts among the others.
    """
    columns = {role: evaluate(frame, expression, _thing(task)) for role, expression in task.expressions.items()}
    if len(columns) == 1:
        return columns[LABEL]
    struct = pl.DataFrame([column.alias(role) for role, column in columns.items()]).to_struct(LABEL)
    if task.relates_rows:
        return struct
    return struct.zip_with(columns[LABEL].is_not_null(), pl.Series(LABEL, [None], dtype=struct.dtype))


def with_numbers(labels: pl.Series, numbers_NL: Tensor) -> pl.Series:
    """Return a struct of the label and of the numbers that a feature has for the row's item."""
    numbers = pl.Series(NUMBERS, numbers_NL.numpy(), dtype=pl.Array(pl.Int32, numbers_NL.shape[1]))
    return pl.DataFrame([label_of(labels).alias(LABEL), numbers]).to_struct(LABEL)


def observed_labels(labels: pl.Series) -> pl.Series:
    """Return the non-null labels; of structs, those with a non-null label."""
    return labels.filter(label_of(labels).is_not_null())


def fit_task(task: Task, labels: pl.Series, before: State | None = None) -> State:
    """Return the state that a task learns from labels, or the state `before` updated with them.

    A task that relates rows sees all rows; any other task sees the observed labels only.
    """
    rows = labels if task.relates_rows else observed_labels(labels)
    return task.fit(rows) if before is None else task.grow(rows, before)


def has_label(frame: pl.DataFrame, task: Task) -> bool:
    """Return whether the frame has the columns that a task reads."""
    return all(column in frame.columns for column in task_columns(task))


def task_columns(task: Task) -> tuple[str, ...]:
    """Return the columns that a task reads, those of its label first."""
    every = [columns_of(expression, _thing(task)) for expression in (task.label, *task.expressions.values())]
    return tuple(dict.fromkeys(column for columns in every for column in columns))


def label_columns(task: Task) -> tuple[str, ...]:
    """Return the columns that a task's label reads."""
    return columns_of(task.label, _thing(task))


def check_learnable(labels: pl.Series, task: Task) -> None:
    """Raise `UserError` for labels from which nothing can be learned: all null, or all equal."""
    observed = label_of(labels).drop_nulls()
    if len(observed) == 0:
        raise task.wrong_labels(
            "at least one observed label", f"null in all {len(labels)} rows", "Check the label or drop the task."
        )
    if task.needs_contrast and observed.n_unique() == 1:
        remedy = "Check the expression, or drop the task."
        raise task.wrong_labels(
            "at least two different values", f"{observed[0]!r} in all {len(observed)} observed rows", remedy
        )


def refuse_leakage(
    tasks: Sequence[Task], features: Mapping[str, Feature], views: Mapping[str, Sequence[frozenset[str]]]
) -> None:
    """Raise `UserError` if a feature reads a column of a task's label, and that task or an earlier one sees the feature.

    A history excludes the current row, so its elements and its condition may name a label.
    """
    by_name = {task.name: task for task in tasks}
    for task in tasks:
        columns_of_label = set(label_columns(task))
        seen = (view for viewer in with_earlier(task, by_name) for view in views[viewer])
        for name in sorted(frozenset().union(*seen)):
            for column in features[name].columns:
                if column in columns_of_label:
                    raise UserError(
                        f"feature {name!r} of the task {task.name!r}",
                        expected="columns known before the label",
                        found=f"the column {column!r}, which the label {task.label!r} reads",
                        remedy="Drop the feature, or exclude it from this task with `inputs=`.",
                    )


def label_of(labels: pl.Series) -> pl.Series:
    """Return the label alone, without the other fields of a struct."""
    is_struct = isinstance(labels.dtype, pl.Struct) and any(field.name == LABEL for field in labels.dtype.fields)
    return labels.struct.field(LABEL) if is_struct else labels


def _thing(task: Task) -> str:
    return f"label of the task {task.name!r}"
