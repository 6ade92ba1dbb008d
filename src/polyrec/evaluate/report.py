"""`Evaluation`: the figures of a model on labelled rows, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Column, Table
from rich.text import Text

from polyrec.core.printing import Printed, numbers
from polyrec.evaluate.exposure import Exposure
from polyrec.evaluate.fusion_cost import Cost

_MOST_VALUES = 20
"""Values of a column that are printed."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Slice:
    """The rows of one value of a column, judged apart."""

    value: str
    rows: int
    tasks: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation(Printed):
    """Metrics by task and of the fused ranking. `print` shows tables; `to_dict` is for JSON."""

    tasks: Mapping[str, Mapping[str, float]]
    """Metric values by task."""
    fusion: Mapping[str, float]
    """Ranking metrics of the fused score over the whole catalogue; empty where nothing is ranked."""
    rows: int
    """Rows of the table."""
    observed: Mapping[str, int]
    """Rows with an observed label, by task."""
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    """95 % bootstrap intervals by task, and under `fusion`; empty unless asked for."""
    slices: Mapping[str, tuple[Slice, ...]] = field(default_factory=dict)
    """Metrics for the values of columns; empty unless asked for."""
    fusion_cost: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """What the fused order of each user's rows costs a task, by task and metric; empty without users or a score."""
    beyond_accuracy: Mapping[str, float] = field(default_factory=dict)
    """What the lists by the fused score are like: diversity, novelty, popularity; empty where nothing is ranked."""
    exposure: Mapping[str, tuple[Exposure, ...]] = field(default_factory=dict)
    """Who is shown, by column of the items; empty unless asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; an undefined metric is None."""
        told: dict[str, Any] = {"tasks": self.tasks, "fusion": self.fusion, "rows": self.rows, "observed": self.observed}
        if self.intervals:
            told["intervals"] = self.intervals
        if self.fusion_cost:
            told["fusion_cost"] = {
                task: {name: asdict(cost) for name, cost in own.items()} for task, own in self.fusion_cost.items()
            }
        if self.beyond_accuracy:
            told["beyond_accuracy"] = self.beyond_accuracy
        if self.exposure:
            told["exposure"] = {column: [asdict(own) for own in found] for column, found in self.exposure.items()}
        if self.slices:
            told["slices"] = {
                column: [{"value": s.value, "rows": s.rows, "tasks": s.tasks} for s in found]
                for column, found in self.slices.items()
            }
        plain = as_json(told)
        assert isinstance(plain, dict)
        return plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the tables in a terminal."""
        yield Text(f"{self.rows:,} rows")
        table = Table("task", "metric", *numbers("value", "95 % interval" if self.intervals else None, "observed"))
        for task, metrics in self.tasks.items():
            for position, (name, value) in enumerate(metrics.items()):
                title = Text(task if position == 0 else "")
                table.add_row(title, name, _number(value), *self._interval(task, name), f"{self.observed[task]:,}")
        yield table
        if self.fusion:
            yield self._ranking_table("fused ranking", self.fusion, "fusion")
        if self.beyond_accuracy:
            yield self._ranking_table("its lists", self.beyond_accuracy, "beyond_accuracy")
        yield from (_exposure_table(column, found) for column, found in self.exposure.items())
        if self.fusion_cost:
            yield self._cost_table()
        yield Group(*(self._slice_table(column, found) for column, found in self.slices.items()))

    def _interval(self, task: str, name: str) -> tuple[str, ...]:
        if not self.intervals:
            return ()
        low, high = self.intervals.get(task, {}).get(name, (math.nan, math.nan))
        return (_range(low, high),)

    def _ranking_table(self, title: str, metrics: Mapping[str, float], key: str) -> Table:
        table = Table(title, *numbers("value", "95 % interval" if self.intervals else None))
        for name, value in metrics.items():
            table.add_row(name, _number(value), *self._interval(key, name))
        return table

    def _cost_table(self) -> Table:
        interval = "95 % interval" if self.intervals else None
        table = Table("cost of the fusion", "metric", *numbers("fused order", "own order", "difference", interval))
        for task, costs in self.fusion_cost.items():
            for position, (name, cost) in enumerate(costs.items()):
                bounds = (_range(cost.low, cost.high),) if self.intervals else ()
                values = map(_number, (cost.fused, cost.own, cost.difference))
                table.add_row(Text(task if position == 0 else ""), name, *values, *bounds)
        return table

    def _slice_table(self, column: str, slices: tuple[Slice, ...]) -> Table:
        heads = [(task, next(iter(metrics))) for task, metrics in self.tasks.items() if metrics]
        table = Table(Column(Text(column)), *numbers("rows", *(f"{task} {metric}" for task, metric in heads)))
        for found in slices:
            values = (found.tasks.get(task, {}).get(metric, math.nan) for task, metric in heads)
            table.add_row(Text(found.value), f"{found.rows:,}", *map(_number, values))
        return table


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _exposure_table(column: str, found: tuple[Exposure, ...]) -> Table:
    table = Table(Column(Text(column)), *numbers("exposure", "of the catalogue", "of the training rows"))
    for own in found[:_MOST_VALUES]:
        table.add_row(Text(own.value), *(f"{share:.1%}" for share in (own.exposure, own.catalogue, own.training)))
    return table


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{_number(low)} to {_number(high)}"


def as_json(value: Any) -> Any:
    """Return JSON values; what is no finite number is None."""
    if isinstance(value, Mapping):
        return {str(key): as_json(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
