"""Labels of tasks, from columns and SQL expressions; and the guard against features that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.expressions import columns_of, evaluate
from polyrec.features.feature import Feature
from polyrec.tasks.task import Task


def read_labels(frame: pl.DataFrame, task: Task) -> pl.Series:
    """Return a task's label in every row; null means "not observed"."""
    return evaluate(frame, task.label, _thing(task))


def has_label(frame: pl.DataFrame, task: Task) -> bool:
    """Whether the frame holds the columns that a task's label reads."""
    return all(column in frame.columns for column in label_columns(task))


def label_columns(task: Task) -> tuple[str, ...]:
    """Return the columns that a task's label reads."""
    return columns_of(task.label, _thing(task))


def check_learnable(labels: pl.Series, task: Task) -> None:
    """Raise `UserError` for a label from which nothing can be learned: all null, or one value throughout."""
    observed = labels.drop_nulls()
    if len(observed) == 0:
        raise task.wrong_labels(
            "at least one observed label", f"null in all {len(labels)} rows", "Check the label or drop the task."
        )
    if observed.n_unique() == 1:
        remedy = "Check the expression, or drop the task."
        raise task.wrong_labels("two values or more", f"{observed[0]!r} in all {len(observed)} observed rows", remedy)


def refuse_leakage(tasks: Sequence[Task], features: Mapping[str, Feature], visible: Mapping[str, frozenset[str]]) -> None:
    """Raise `UserError` where a task may see a feature that reads a column of its own label.

    A history never reads its own row, so its elements and its condition may name a label.
    """
    for task in tasks:
        held = set(label_columns(task))
        for name in sorted(visible[task.name]):
            for column in features[name].columns:
                if column in held:
                    raise UserError(
                        f"feature {name!r} of the task {task.name!r}",
                        expected="columns known before the label",
                        found=f"the column {column!r}, which the label {task.label!r} reads",
                        remedy="Drop the feature, or keep it from this task with `inputs=`.",
                    )


def _thing(task: Task) -> str:
    return f"label of the task {task.name!r}"
