"""What tasks that relate rows read of a row: its label, and ids as numbers that can be compared."""

from __future__ import annotations

import polars as pl

from polyrec.tasks.task import Task

NO_CODE = -1
"""Code of a null id: no group, no user, no item."""

_CODES = 2**53


def roles_of(task: Task, labels: pl.Series) -> dict[str, pl.Series]:
    """Return the columns that a task reads, by role, from the struct of them."""
    dtype = labels.dtype
    roles = [field.name for field in dtype.fields] if isinstance(dtype, pl.Struct) else []
    if not set(task.expressions) <= set(roles):
        remedy = "Name the columns or expressions that hold them in the task."
        raise task.wrong_labels(" and ".join(task.expressions), f"the type {dtype}", remedy)
    columns = {role: labels.struct.field(role) for role in task.expressions}
    for role, column in columns.items():
        if role != "label" and column.dtype.is_nested():
            raise task.wrong_labels(f"one {role} a row", f"the type {column.dtype}", "Name a column of ids.")
    return {role: column if role == "label" else plain(column) for role, column in columns.items()}


def plain(ids: pl.Series) -> pl.Series:
    """Return ids with categories as the strings that they stand for."""
    return ids.cast(pl.String) if ids.dtype in (pl.Categorical, pl.Enum) else ids


def codes(ids: pl.Series) -> pl.Series:
    """Return a number for each id, exact in double precision, whatever the other rows: a hash; -1 for null.

    Two of n different ids share a number with a probability of about n^2 / 2^54. Numbers are to be compared, not kept: they are
    the same in every run of one version of the data frame library.
    """
    hashed = (ids.hash() % _CODES).cast(pl.Int64)
    return hashed.zip_with(ids.is_not_null(), pl.Series([NO_CODE], dtype=pl.Int64)).cast(pl.Float64)
