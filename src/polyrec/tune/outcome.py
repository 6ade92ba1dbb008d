"""`Tuned`: the result of a search, for people and for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from polyrec.core.printing import Printed
from polyrec.evaluate.front import compromise, pareto_front
from polyrec.tune.objective import Objective

TrialState = Literal["complete", "pruned", "failed", "interrupted"]

_SHOWN = 10
"""Number of trials printed in a terminal, besides the declaration itself."""


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial."""

    number: int
    state: TrialState
    """`complete`; `pruned`, stopped early; `failed`, if fitting raised an error; `interrupted`, which does not count."""
    parameters: Mapping[str, Any]
    """Values of the searched settings by path; empty for the unchanged declaration."""
    values: Sequence[float] | None
    """Values of the objectives if the trial is complete."""
    curve: Sequence[float]
    """Objective after every epoch, if there is only one objective."""
    epochs: int
    best_epoch: int | None
    seconds: float
    error: str | None

    def to_dict(self, objectives: Sequence[Objective]) -> dict[str, Any]:
        """Return the trial as JSON values."""
        named = None if self.values is None else dict(zip((o.name for o in objectives), self.values, strict=True))
        curve = [value if math.isfinite(value) else None for value in self.curve]
        return {**vars(self), "parameters": dict(self.parameters), "values": named, "curve": curve}


@dataclass(frozen=True)
class Tuned(Printed):
    """The trials of a search and the best of them."""

    objectives: Sequence[Objective]
    trials: Sequence[TrialRecord]
    """All trials in the order of their start; at least one is complete."""

    @property
    def complete(self) -> list[TrialRecord]:
        """The trials that ended with values."""
        return [trial for trial in self.trials if trial.values is not None]

    @property
    def front(self) -> list[TrialRecord]:
        """The Pareto front: trials that no other trial dominates; with one objective, those with its best value."""
        is_on_front = pareto_front(self._signed())
        return [trial for trial, keep in zip(self.complete, is_on_front, strict=True) if keep]

    @property
    def best(self) -> TrialRecord:
        """The trial with the best objective; with several objectives, the trial of the front nearest to the best of each."""
        return self.complete[compromise(self._signed())]

    @property
    def declared(self) -> TrialRecord | None:
        """The trial of the unchanged declaration, if it is complete."""
        return next((trial for trial in self.complete if not trial.parameters), None)

    def count(self, state: TrialState) -> int:
        """Return how many trials ended in a state."""
        return sum(trial.state == state for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "objectives": [{"name": o.name, "higher_is_better": o.higher_is_better} for o in self.objectives],
            "trials": {state: self.count(state) for state in ("complete", "pruned", "failed", "interrupted")},
            "best": self.best.to_dict(self.objectives),
            "declared": None if self.declared is None else self.declared.to_dict(self.objectives)["values"],
            "front": [trial.number for trial in self.front],
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the best trials in a terminal."""
        paths = list(dict.fromkeys(path for trial in self.trials for path in trial.parameters))
        numbers = [Column(Text(o.name), justify="right") for o in self.objectives]
        heads = (Column(Text(path.replace(".", ".\n")), overflow="fold") for path in paths)
        table = Table("", Column("trial", justify="right"), *numbers, *heads)
        ranked = self.ranked()
        for trial in [*ranked[:_SHOWN], *(trial for trial in ranked[_SHOWN:] if trial is self.declared)]:
            assert trial.values is not None
            settings = (Text(show(trial.parameters[path])) if path in trial.parameters else Text("") for path in paths)
            table.add_row(self.mark(trial), str(trial.number), *(f"{value:.4f}" for value in trial.values), *settings)
        yield table

    def mark(self, trial: TrialRecord) -> str:
        """Return the mark of a complete trial: `best`, `front`, `declared`, or empty."""
        on_front = len(self.objectives) > 1 and trial in self.front
        rank = "best" if trial is self.best else "front" if on_front else ""
        return rank if trial.parameters else f"{rank} declared".strip()

    def ranked(self) -> list[TrialRecord]:
        """Return the complete trials: the best one, the rest of the front, then the others by the first objective."""
        front = {trial.number for trial in self.front}
        sign = 1 if self.objectives[0].higher_is_better else -1
        best = self.best

        def key(trial: TrialRecord) -> tuple[bool, bool, float]:
            assert trial.values is not None
            return trial is not best, trial.number not in front, -sign * trial.values[0]

        return sorted(self.complete, key=key)

    def _signed(self) -> np.ndarray:
        signs = np.array([1.0 if objective.higher_is_better else -1.0 for objective in self.objectives])
        return np.array([trial.values for trial in self.complete]) * signs


def show(value: Any) -> str:
    """Return a setting's value as readable text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and "kind" in value:
        inside = ", ".join(f"{name}={show(field)}" for name, field in value.items() if name != "kind")
        return f"{value['kind']}({inside})" if inside else str(value["kind"])
    return value if isinstance(value, str) else json.dumps(value)
