"""`Comparison`: the result of `polyrec compare`, which report.json stores. Its JSON keys are only ever added to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from polyrec.compare.contender_result import ContenderResult
from polyrec.compare.wording import gain, interval, number, signed
from polyrec.core.errors import UserError
from polyrec.core.json_values import as_json
from polyrec.core.printing import Printed

FORMAT = 1
"""Version of report.json."""


@dataclass(frozen=True)
class ComparedRows:
    """The two tables of a comparison."""

    learning_rows: int
    """Number of rows to learn from."""
    test_rows: int
    """Number of test rows."""
    test: str
    """How the test rows were chosen, in words."""
    learning_sha256: str
    """Hash of the table to learn from, which names its file."""
    test_sha256: str
    """Hash of the test table, which names its file."""


@dataclass(frozen=True)
class Settings:
    """What was varied, and the budget of each contender."""

    varied: Mapping[str, Sequence[Any]]
    """Values of each varied field, as JSON values."""
    design: str
    """How the arms combine the values: `grid` or `one at a time`."""
    seeds: int
    """Number of seeds."""
    trials: int
    """Number of trials on the first seed."""
    rate_factors: Sequence[float]
    """Factor of the learning rate in each trial."""
    fits_per_contender: int
    """Number of fits of each contender."""
    resamples: int
    """Number of bootstrap resamples of the test users."""
    level: float
    """Coverage of the intervals."""


@dataclass(frozen=True)
class ComparedTask:
    """A task and the metrics by which it is judged."""

    kind: str
    """Class of the task."""
    headline: str | None
    """Metric on which verdicts are given; None for tasks that are judged only by ranking the catalogue."""
    higher_is_better: Mapping[str, bool]
    """Direction of each metric."""
    test_rows: int
    """Number of test rows with an observed label."""
    test_users: int | None
    """Number of users, or groups of the task, among them; None where there are neither."""

    def arrow(self, metric: str) -> str:
        """Return the direction of a metric as an arrow."""
        return "↑" if self.higher_is_better[metric] else "↓"

    def to_dict(self) -> dict[str, Any]:
        """Return the task for report.json."""
        return {
            "kind": self.kind,
            "headline": self.headline,
            "metrics": {name: {"higher_is_better": higher} for name, higher in self.higher_is_better.items()},
            "test_rows": self.test_rows,
            "test_users": self.test_users,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ComparedTask:
        """Read a task of report.json."""
        higher_is_better = {name: metric["higher_is_better"] for name, metric in document["metrics"].items()}
        return cls(document["kind"], document["headline"], higher_is_better, document["test_rows"], document["test_users"])


@dataclass(frozen=True)
class Comparison(Printed):
    """All figures of a comparison. `print` shows a table for each task; `to_dict` returns the content of report.json."""

    versions: Mapping[str, str]
    """Versions that determine the figures, by name."""
    spec: Mapping[str, Any]
    """The declaration, as JSON values."""
    data: ComparedRows
    """Rows to learn from and test rows."""
    settings: Settings
    """Settings of the comparison."""
    tasks: Mapping[str, ComparedTask]
    """Tasks by name."""
    contenders: Sequence[ContenderResult]
    """Results of each contender; single-task models are first."""
    done: Sequence[str] = field(default=(), compare=False)
    """Keys of the fits run by this call; the others were read from the folder. Not part of report.json."""

    @property
    def judged(self) -> list[ContenderResult]:
        """All contenders except the single-task models."""
        return [contender for contender in self.contenders if contender.role != "single"]

    @property
    def as_given(self) -> ContenderResult:
        """The contender that is the unchanged declaration."""
        return next(contender for contender in self.contenders if contender.as_given)

    def headlines(self) -> Iterator[tuple[str, str, ComparedTask]]:
        """Yield (name, headline metric, task) for each task that has a headline."""
        for name, task in self.tasks.items():
            if task.headline is not None:
                yield name, task.headline, task

    def summary(self) -> str:
        """Return how many headlines are better, worse or unclear, in two sentences."""
        figures = [
            contender.figure(task, metric)
            for contender in self.contenders
            if contender.role in ("arm", "weights")
            for task, metric, _ in self.headlines()
        ]
        counts = Counter(figure.verdict for figure in figures if figure is not None and figure.verdict)
        return (
            f"Of {counts.total()} pairs of a way to learn together and a task, learning together helps in {counts['helps']}, "
            f"hurts in {counts['hurts']} and is unclear in {counts['unclear']}. Points are the mean difference from the "
            "single-task model, with 95 % intervals over seeds and test users; colours are verdicts after Holm's correction "
            "for all tests of the page."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of report.json; undefined numbers are None."""
        document = {
            "format": FORMAT,
            "versions": self.versions,
            "spec": self.spec,
            "data": asdict(self.data),
            "settings": asdict(self.settings),
            "tasks": {name: task.to_dict() for name, task in self.tasks.items()},
            "contenders": [contender.to_dict() for contender in self.contenders],
        }
        plain = as_json(document)
        assert isinstance(plain, dict)
        return plain

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Comparison:
        """Read the content of report.json."""
        if document["format"] != FORMAT:
            remedy = "Read it with the version of polyrec that wrote it."
            raise UserError("report.json", expected=f"format {FORMAT}", found=f"{document['format']}", remedy=remedy)
        return cls(
            versions=document["versions"],
            spec=document["spec"],
            data=ComparedRows(**document["data"]),
            settings=Settings(**document["settings"]),
            tasks={name: ComparedTask.from_dict(task) for name, task in document["tasks"].items()},
            contenders=[ContenderResult.from_dict(contender) for contender in document["contenders"]],
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render a table for each headline, the summary, and the failures."""
        for name, metric, task in self.headlines():
            yield self._table(name, metric, task)
        yield Text(self.summary(), style="dim")
        for contender in self.contenders:
            if contender.error:
                yield Text(f"{contender.full_name} failed: {contender.error}")

    def _table(self, name: str, metric: str, task: ComparedTask) -> Table:
        title = Text(f"{name}: {metric} {task.arrow(metric)} on {task.test_rows:,} test rows", style="table.title")
        table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
        table.add_column("contender")
        for column in ("mean", "difference, 95 % interval", "gain", "verdict"):
            table.add_column(column, justify="right", no_wrap=True)
        for contender in self.contenders:
            figure = contender.figure(name, metric)
            if figure is not None:
                difference = f"{signed(figure)} {interval(figure)}".strip()
                cells = [number(figure.mean), difference, gain(figure), figure.verdict or ""]
                table.add_row(Text(contender.row_name), *cells, style="bold" if contender.as_given else None)
        return table
