"""Inputs of tasks that relate rows: the label, and ids as numbers that can be compared."""

from __future__ import annotations

import polars as pl

from polyrec.tasks.task import Task

NO_CODE = -1
"""Code of a null id: a row without group, user or item."""

_CODES = 2**53


def roles_of(task: Task, labels: pl.Series) -> dict[str, pl.Series]:
    """Return the columns that a task reads, by role, from the struct that contains them."""
    dtype = labels.dtype
    fields = [field.name for field in dtype.fields] if isinstance(dtype, pl.Struct) else []
    if not set(task.expressions) <= set(fields):
        remedy = "Name their columns or expressions in the task."
        raise task.wrong_labels(" and ".join(task.expressions), f"the type {dtype}", remedy)
    columns = {role: labels.struct.field(role) for role in task.expressions}
    for role, column in columns.items():
        if role != "label" and column.dtype.is_nested():
            raise task.wrong_labels(f"one {role} a row", f"the type {column.dtype}", "Name a column of ids.")
    return {role: column if role == "label" else plain(column) for role, column in columns.items()}


def plain(ids: pl.Series) -> pl.Series:
    """Return ids with categories replaced by their strings."""
    return ids.cast(pl.String) if ids.dtype in (pl.Categorical, pl.Enum) else ids


def codes(ids: pl.Series) -> pl.Series:
    """Return a hash of each id, (N,), as a whole number that float64 represents exactly; -1 for null.

    The hash does not depend on the other rows. Any two of n different ids share a hash with probability about n^2 / 2^54.
    Compare hashes, but do not store them: they change with the version of Polars.
    """
    hashed = (ids.hash() % _CODES).cast(pl.Int64)
    return hashed.zip_with(ids.is_not_null(), pl.Series([NO_CODE], dtype=pl.Int64)).cast(pl.Float64)
