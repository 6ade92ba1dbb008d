"""`Evaluation`: the metrics of a model on labelled rows, as printed tables and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Column, Table
from rich.text import Text

from polyrec.core.json_values import as_json
from polyrec.core.printing import Printed, numbers
from polyrec.evaluate.fusion_cost import Cost
from polyrec.evaluate.metrics.exposure import Exposure

_MOST_VALUES = 20
"""Maximum number of values of a column that are printed."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Slice:
    """Metrics on the rows with one value of a column."""

    value: str
    rows: int
    tasks: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation(Printed):
    """Metrics by task and of the fused ranking. `print` shows tables; `to_dict` returns JSON values."""

    tasks: Mapping[str, Mapping[str, float]]
    """Metric values by task."""
    fusion: Mapping[str, float]
    """Ranking metrics of the fused score over the entire catalogue; empty if nothing is ranked."""
    rows: int
    """Rows of the table."""
    observed: Mapping[str, int]
    """Rows with an observed label, by task."""
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    """95 % bootstrap intervals by task, and under `fusion`; empty unless requested."""
    slices: Mapping[str, tuple[Slice, ...]] = field(default_factory=dict)
    """Metrics by column and value; empty unless requested."""
    fusion_cost: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """Cost of the fused order of each user's rows, by task and metric; empty without users or a score."""
    beyond_accuracy: Mapping[str, float] = field(default_factory=dict)
    """Diversity, novelty and popularity of the lists by the fused score; empty if nothing is ranked."""
    exposure: Mapping[str, tuple[Exposure, ...]] = field(default_factory=dict)
    """Exposure of item groups, by column of the items; empty unless requested."""

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON values; an undefined metric is None."""
        document: dict[str, Any] = {"tasks": self.tasks, "fusion": self.fusion, "rows": self.rows, "observed": self.observed}
        if self.intervals:
            document["intervals"] = self.intervals
        if self.fusion_cost:
            document["fusion_cost"] = {
                task: {name: asdict(cost) for name, cost in costs.items()} for task, costs in self.fusion_cost.items()
            }
        if self.beyond_accuracy:
            document["beyond_accuracy"] = self.beyond_accuracy
        if self.exposure:
            document["exposure"] = {
                column: [asdict(exposure) for exposure in exposures] for column, exposures in self.exposure.items()
            }
        if self.slices:
            document["slices"] = {
                column: [{"value": s.value, "rows": s.rows, "tasks": s.tasks} for s in slices]
                for column, slices in self.slices.items()
            }
        plain = as_json(document)
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
            yield self._ranking_table("recommended lists", self.beyond_accuracy, "beyond_accuracy")
        yield from (_exposure_table(column, exposures) for column, exposures in self.exposure.items())
        if self.fusion_cost:
            yield self._cost_table()
        yield Group(*(self._slice_table(column, slices) for column, slices in self.slices.items()))

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
        table = Table("cost of the fusion", "metric", *numbers("fused order", "task order", "difference", interval))
        for task, costs in self.fusion_cost.items():
            for position, (name, cost) in enumerate(costs.items()):
                bounds = (_range(cost.low, cost.high),) if self.intervals else ()
                values = map(_number, (cost.fused, cost.own, cost.difference))
                table.add_row(Text(task if position == 0 else ""), name, *values, *bounds)
        return table

    def _slice_table(self, column: str, slices: tuple[Slice, ...]) -> Table:
        heads = [(task, next(iter(metrics))) for task, metrics in self.tasks.items() if metrics]
        table = Table(Column(Text(column)), *numbers("rows", *(f"{task} {metric}" for task, metric in heads)))
        for part in slices:
            values = (part.tasks.get(task, {}).get(metric, math.nan) for task, metric in heads)
            table.add_row(Text(part.value), f"{part.rows:,}", *map(_number, values))
        return table


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _exposure_table(column: str, exposures: tuple[Exposure, ...]) -> Table:
    table = Table(Column(Text(column)), *numbers("exposure", "of the catalogue", "of the training rows"))
    for row in exposures[:_MOST_VALUES]:
        table.add_row(Text(row.value), *(f"{share:.1%}" for share in (row.exposure, row.catalogue, row.training)))
    return table


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{_number(low)} to {_number(high)}"
