"""`TextReport`: the result of `polyrec text-report`, which text-report.json stores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from polyrec.compare.text.arms import WHOLE
from polyrec.compare.text.findings import Cell, Difference
from polyrec.compare.text.planted import Planted
from polyrec.core.json_values import as_json
from polyrec.core.printing import Printed


@dataclass(frozen=True)
class TextPlan:
    """Settings of a text report."""

    seeds: int
    """Number of seeds of each arm."""
    test_share: float
    """Share of the rows held out as test rows."""
    cold_share: float
    """Share of the items held out from all fits."""
    new_share: float
    """Share of the users held out from all fits."""
    tail: int
    """Largest number of rows to learn from of an item in the tail."""
    users: int
    """Largest number of users for whom the catalogue is ranked."""
    resamples: int
    """Number of bootstrap resamples of the test users."""


@dataclass(frozen=True)
class TextReport(Printed):
    """All figures of a text report. `print` shows tables for each task; `to_dict` returns the content of text-report.json."""

    verdict: str
    """Whether the texts pay, for which task and for which items, in a few sentences."""
    plan: TextPlan
    """Settings of the report."""
    rows: Mapping[str, float]
    """Number of rows to learn from and of test rows by slice."""
    catalogue: int | None
    """Number of items; None without a table of items."""
    planted: Mapping[str, Planted]
    """Texts that look planted, by Text feature of the item."""
    arms: Mapping[str, Sequence[Cell]]
    """Metrics by arm."""
    differences: Sequence[Difference]
    """Differences between the declaration and other arms."""
    spec: Mapping[str, Any]
    """The declaration, as JSON values."""
    versions: Mapping[str, str]
    """Versions that determine the figures, by name."""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of text-report.json; undefined numbers are None."""
        plain = as_json(asdict(self))
        assert isinstance(plain, dict)
        return plain

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TextReport:
        """Read the content of text-report.json."""
        return cls(
            **{
                **document,
                "plan": TextPlan(**document["plan"]),
                "planted": {name: Planted.from_dict(texts) for name, texts in document["planted"].items()},
                "arms": {arm: [Cell.from_dict(cell) for cell in cells] for arm, cells in document["arms"].items()},
                "differences": [Difference.from_dict(difference) for difference in document["differences"]],
            }
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render two tables for each task, the verdict, and a line on texts that look planted."""
        metrics = {cell.task: cell.metric for cells in self.arms.values() for cell in cells}
        for task, metric in metrics.items():
            slices = list(dict.fromkeys(cell.slice for cells in self.arms.values() for cell in cells if cell.task == task))
            yield self._arms_table(task, metric, slices)
            yield self._difference_table(task, slices)
        yield Text(self.verdict)
        for feature, planted in self.planted.items():
            if planted.suspects:
                yield Text(
                    f"{planted.suspects} of {planted.texts:,} texts of {feature!r} look planted (orders, phrases stuffed into "
                    f"many); read them in text-report.json. The first: {planted.shown[0].text!r:.80}"
                )

    def _arms_table(self, task: str, metric: str, slices: Sequence[str]) -> Table:
        table = _table(f"{task}: {metric}", "arm", slices)
        cells = {(arm, cell.slice): cell for arm, row in self.arms.items() for cell in row if cell.task == task}
        for arm in self.arms:
            means = (_mean(cells.get((arm, name))) for name in slices)
            table.add_row(arm, *means, style="bold" if arm == WHOLE else None)
        units = (max(cell.rows for (_, place), cell in cells.items() if place == name) for name in slices)
        table.add_row("users", *(f"{count:,}" for count in units), style="dim")
        return table

    def _difference_table(self, task: str, slices: Sequence[str]) -> Table:
        arms = list(dict.fromkeys(difference.against for difference in self.differences))
        table = _table("", "declared minus", arms)
        differences = {(entry.slice, entry.against): entry for entry in self.differences if entry.task == task}
        for name in slices:
            table.add_row(name, *(_difference(differences.get((name, arm))) for arm in arms))
        return table


def _table(title: str, first: str, others: Sequence[str]) -> Table:
    heading = Text(title, style="table.title") if title else None
    table = Table(title=heading, title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _mean(cell: Cell | None) -> str:
    return "" if cell is None or not all(map(math.isfinite, cell.values)) else f"{cell.mean:.4f}"


def _difference(difference: Difference | None) -> str:
    if difference is None or not math.isfinite(difference.estimate.mean):
        return ""
    estimate = difference.estimate
    bounds = f" [{estimate.low:+.3f}, {estimate.high:+.3f}]" if math.isfinite(estimate.low) else ""
    return f"{estimate.mean:+.3f}{bounds} {difference.verdict}"
