"""`FusionSearch`: the result of a search for the weights of a fusion, as tables and as JSON values.

Shape letters: T trials, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from polyrec.core.json_values import as_json
from polyrec.core.printing import Printed
from polyrec.evaluate.front import pareto_front
from polyrec.fusion.fusion import Fusion
from polyrec.predict.predictor import Predictor

UTILITY = "utility"
P = TypeVar("P", bound=Predictor)
Sampler = Literal["tpe", "random"]


@dataclass(frozen=True)
class FusionTrial:
    """Weights of one trial, and their metrics on the users of the search."""

    number: int
    weights: Mapping[str, float]
    metrics: Mapping[str, float]
    """By `task.metric`."""
    utility: float


@dataclass(frozen=True)
class Gain:
    """One figure under the given and under the best weights, on users that the search has not seen."""

    given: float
    best: float
    difference: float
    """Best minus given."""
    low: float
    """Lower end of the 95 % bootstrap interval of the difference; both fusions share the resampled users."""
    high: float


@dataclass(frozen=True)
class FusionSearch(Printed):
    """The trials of a search for the weights of a fusion; trial 0 is the given fusion."""

    fusion: Fusion
    """The given fusion."""
    tasks: Sequence[str]
    """The tasks whose predictions are fused."""
    utility: Mapping[str, float]
    """Weight of each `task.metric` in the objective; metrics of weight 0 are only reported."""
    sampler: Sampler
    seed: int
    trials: Sequence[FusionTrial]
    gains: Mapping[str, Gain]
    """The utility and each metric on the users that the search has not seen: unbiased figures to report."""
    users: tuple[int, int]
    """Number of users of the search, and of users of `gains`."""

    @property
    def given(self) -> FusionTrial:
        """The trial of the given weights."""
        return self.trials[0]

    @property
    def best(self) -> FusionTrial:
        """The trial of the highest utility; the first one if several are equal."""
        return max(self.trials, key=lambda trial: trial.utility)

    @property
    def best_fusion(self) -> Fusion:
        """The fusion with the best weights."""
        return self.fusion.with_weights(self.best.weights, self.tasks)

    @property
    def front(self) -> list[FusionTrial]:
        """The Pareto-optimal trials by all metrics; lower is better for metrics of negative weight."""
        signs_M = np.array([-1.0 if weight < 0 else 1.0 for weight in self.utility.values()])
        values_TM = np.array([[trial.metrics[term] for term in self.utility] for trial in self.trials])
        return [trial for trial, kept in zip(self.trials, pareto_front(values_TM * signs_M), strict=True) if kept]

    def apply(self, fitted: P) -> P:
        """Return a recommender with the best weights and the result of the search in its facts; the model is shared."""
        facts = replace(fitted.parts.facts, fusion_search=self.to_dict())
        spec = fitted.spec.replace(fusion=self.best_fusion)
        return type(fitted)(replace(fitted.parts, spec=spec, facts=facts), fitted.model)

    def to_dict(self, trials: bool = False) -> dict[str, Any]:
        """Return the result as JSON values; set `trials` to include every trial."""
        result = {
            "utility": dict(self.utility),
            "sampler": self.sampler,
            "seed": self.seed,
            "trials": len(self.trials),
            "users": {"searched": self.users[0], "confirmed": self.users[1]},
            "given": asdict(self.given),
            "best": asdict(self.best),
            "gains": {name: asdict(gain) for name, gain in self.gains.items()},
            "front": [trial.number for trial in self.front],
            **({"all": [asdict(trial) for trial in self.trials]} if trials else {}),
        }
        json_values = as_json(result)
        assert isinstance(json_values, dict)
        return json_values

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render weights and gains in a terminal."""
        weights = Table("weight", *(Column(title, justify="right") for title in ("given", "best")))
        for name, value in self.best.weights.items():
            weights.add_row(Text(name), f"{self.given.weights[name]:.4g}", f"{value:.4g}")
        yield weights
        heads = ("given", "best", "difference", "95 % interval")
        table = Table("figure", *(Column(title, justify="right") for title in heads))
        for name, gain in self.gains.items():
            interval = f"{gain.low:+.4f} to {gain.high:+.4f}"
            table.add_row(Text(name), f"{gain.given:.4f}", f"{gain.best:.4f}", f"{gain.difference:+.4f}", interval)
        yield table
        yield Text(
            f"{len(self.trials)} trials on {self.users[0]:,} users; the figures are of {self.users[1]:,} others. "
            f"{len(self.front)} trials are on the Pareto front."
        )
