"""Tables and lines of `print(recommender)`: features, tasks, and the parts between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from polyrec.core.spec import Spec
from polyrec.features.derived import Derived
from polyrec.features.feature import Feature
from polyrec.tasks.task import Task


def features_table(sides: Mapping[str, Sequence[Feature]]) -> Table:
    """Return a table with a row per feature: its side, name, kind, the columns or features that it reads, and its width."""
    table = Table("side", "feature", "kind", "reads", "width")
    for side, features in sides.items():
        for feature in features:
            reads = feature.reads if isinstance(feature, Derived) else feature.columns
            kind = type(feature).__name__
            table.add_row(side, Text(feature.name), kind, Text(", ".join(reads)), f"{feature.width}")
    return table


def tasks_table(tasks: Sequence[Task]) -> Table:
    """Return a table with a row per task: its name, kind, label, inputs, and the tasks that it comes after."""
    table = Table("task", "kind", "label", "inputs", "after")
    for task in tasks:
        inputs = task.inputs if isinstance(task.inputs, str) else ", ".join(task.inputs)
        after = "" if task.after is None else f"{', '.join(task.after.tasks)} ({type(task.after).__name__})"
        table.add_row(Text(task.name), type(task).__name__, Text(task.label), Text(inputs), Text(after))
    return table


def parts(**specs: Spec) -> Iterator[RenderableType]:
    """Yield a line per part: its kind and the fields that differ from their defaults."""
    for name, spec in specs.items():
        fields = type(spec).model_fields
        changed = {field: getattr(spec, field) for field in fields if getattr(spec, field) != fields[field].get_default()}
        settings = ", ".join(f"{field}={_short(value)}" for field, value in changed.items())
        yield Text(f"{name:<12}{type(spec).__name__}({settings})")


def _short(value: object) -> str:
    return f"{type(value).__name__}()" if isinstance(value, Spec) else repr(value)
