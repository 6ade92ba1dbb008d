"""The results of one contender, as report.json lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polyrec.compare.contenders import BOOSTED, Role
from polyrec.compare.figure import Figure
from polyrec.compare.gradients import Gates, Gradients
from polyrec.compare.statistics import or_nan


@dataclass(frozen=True)
class TrialResult:
    """One setting that was tried on the first seed."""

    learning_rate: float
    """Learning rate of the trial."""
    weights: Mapping[str, float] | None
    """Weight of each task; None unless the trial varies them."""
    utility: float
    """Utility on validation; NaN if the fit failed."""
    run: str
    """Name of the folder of the fit."""
    error: str | None
    """Error message of the fit; None if it succeeded."""


@dataclass(frozen=True)
class SeedResult:
    """The fit of the chosen trial with one seed."""

    seed: int
    """Seed of weights, row order and validation rows."""
    run: str
    """Name of the folder of the fit."""
    utility: float
    """Utility on validation at the best epoch."""
    best_epoch: int
    """Epoch whose weights are kept, from 1."""
    epochs: int
    """Epochs trained."""
    cpu_seconds: float
    """CPU time of the fit, in seconds."""
    peak_bytes: int | None
    """Peak memory of the process, in bytes; None where the system does not report it."""


@dataclass(frozen=True)
class Cost:
    """Size and cost of one fit; None where no fit succeeded."""

    parameters: int | None
    """Number of parameters; for LightGBM the number of leaves."""
    cpu_seconds: float | None
    """CPU time, mean over seeds, in seconds."""
    peak_bytes: int | None
    """Peak memory, maximum over seeds, in bytes."""


@dataclass(frozen=True)
class ContenderResult:
    """A contender with its trials, its fits by seed and its figures."""

    name: str
    """Name of the arm, or of the task for single-task models."""
    role: Role
    """Kind of contender."""
    as_given: bool
    """Set if the contender is the unchanged declaration."""
    tasks: Sequence[str]
    """Tasks that are predicted."""
    error: str | None
    """Why there are no figures; None if there are."""
    network: Mapping[str, Any] | None
    """Network of the chosen trial, as JSON values; None for LightGBM."""
    balancing: Mapping[str, Any] | None
    """Balancing method of the chosen trial, as JSON values; None for LightGBM."""
    trials: Sequence[TrialResult]
    """Settings tried on the first seed."""
    chosen: int | None
    """Position of the trial with the best utility on validation; None if all failed."""
    seeds: Sequence[SeedResult]
    """Fits of the chosen trial by seed; empty if one failed."""
    cost: Cost
    """Size and cost of one fit."""
    gradients: Gradients | None
    """Agreement of the tasks' gradients; None where they were not recorded."""
    gates: Gates | None
    """Use of the experts; None for models without gates."""
    figures: Mapping[str, Mapping[str, Figure]]
    """Figures by task and metric."""

    @property
    def row_name(self) -> str:
        """Name in a table of one task."""
        return "single-task" if self.role == "single" else BOOSTED if self.role == "boosting" else self.name

    @property
    def full_name(self) -> str:
        """Name in a table of all tasks."""
        return f"{self.name} alone" if self.role == "single" else self.name

    @property
    def chosen_trial(self) -> TrialResult | None:
        """The trial with the best utility on validation."""
        return None if self.chosen is None else self.trials[self.chosen]

    def figure(self, task: str, metric: str) -> Figure | None:
        """Return a figure, or None if the contender does not have it."""
        return self.figures.get(task, {}).get(metric)

    def to_dict(self) -> dict[str, Any]:
        """Return the results for report.json."""
        modules = {} if self.role == "boosting" else {"network": self.network, "balancing": self.balancing}
        return {
            "name": self.name,
            "role": self.role,
            "own": self.as_given,
            "tasks": self.tasks,
            "error": self.error,
            **modules,
            "trials": [asdict(trial) for trial in self.trials],
            "chosen": self.chosen,
            "seeds": [asdict(seed) for seed in self.seeds],
            "cost": asdict(self.cost),
            "gradients": None if self.gradients is None else asdict(self.gradients),
            "gates": None if self.gates is None else asdict(self.gates),
            "figures": {
                task: {metric: figure.to_dict() for metric, figure in figures.items()} for task, figures in self.figures.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ContenderResult:
        """Read a contender of report.json."""
        gradients, gates = document["gradients"], document["gates"]
        return cls(
            name=document["name"],
            role=document["role"],
            as_given=document["own"],
            tasks=document["tasks"],
            error=document["error"],
            network=document.get("network"),
            balancing=document.get("balancing"),
            trials=[TrialResult(**{**trial, "utility": or_nan(trial["utility"])}) for trial in document["trials"]],
            chosen=document["chosen"],
            seeds=[SeedResult(**{**seed, "utility": or_nan(seed["utility"])}) for seed in document["seeds"]],
            cost=Cost(**document["cost"]),
            gradients=None if gradients is None else Gradients.from_dict(gradients),
            gates=None if gates is None else Gates(**gates),
            figures={
                task: {metric: Figure.from_dict(task, metric, figure) for metric, figure in figures.items()}
                for task, figures in document["figures"].items()
            },
        )
