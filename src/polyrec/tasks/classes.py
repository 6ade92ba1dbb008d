"""Base of tasks over a set of classes, which are numbered in sorted order."""

from __future__ import annotations

import polars as pl

from polyrec.tasks.task import State, Task

CLASS = "class"
"""Column of the state: the classes in sorted order. Output c of the head belongs to class c."""


class ClassesTask(Task, kind=False):
    """A task whose state is a sorted list of classes."""

    is_scalar = False

    def classes_of(self, values: pl.Series) -> State:
        """Return the sorted classes; at least two are required."""
        if values.dtype.is_float() or values.dtype.is_nested():
            raise self.wrong_labels("classes", f"the type {values.dtype}", "Cast the label to integer or string.")
        classes = values.drop_nulls().unique().sort().alias(CLASS)
        if len(classes) < 2:
            raise self.wrong_labels("two classes or more", f"{classes.to_list()}", "Drop the task or fix the label.")
        return classes.to_frame()

    def outputs(self, state: State) -> int:
        return len(state)

    def names(self, state: State) -> tuple[str, ...]:
        """Return one column name per class: `task.class`."""
        return tuple(f"{self.name}.{value}" for value in state[CLASS])

    def numbers(self, values: pl.Series, state: State) -> pl.Series:
        """Return the class number of each value; null for null and for a class that is not among the training labels."""
        known = state[CLASS]
        numbered = pl.DataFrame({CLASS: known, "number": pl.int_range(len(known), eager=True)})
        classes = values.cast(known.dtype, strict=False).alias(CLASS).to_frame()
        return classes.join(numbered, on=CLASS, how="left", maintain_order="left")["number"]
