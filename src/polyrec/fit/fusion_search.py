"""`FusionSearch`: the outcome of a search for the weights of a fusion.

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
    """Weights that were tried, and what they are worth on the users that the search was given."""

    number: int
    weights: Mapping[str, float]
    metrics: Mapping[str, float]
    """By `task.metric`."""
    utility: float


@dataclass(frozen=True)
class Gain:
    """One figure under the weights given and under the best ones, for users that the search was not given."""

    given: float
    best: float
    difference: float
    """Best minus given."""
    low: float
    """Lower end of its 95 % interval, users drawn with replacement for both at once."""
    high: float


@dataclass(frozen=True)
class FusionSearch(Printed):
    """The trials of a search for a fusion's weights; trial 0 is the fusion as it was given."""

    fusion: Fusion
    """The fusion as it was given."""
    tasks: Sequence[str]
    """The tasks whose predictions are fused."""
    utility: Mapping[str, float]
    """Weight of each `task.metric` in what was searched for; those of weight 0 were watched only."""
    sampler: Sampler
    seed: int
    trials: Sequence[FusionTrial]
    gains: Mapping[str, Gain]
    """The utility and each metric on the other half of the users: what may be reported."""
    users: tuple[int, int]
    """Users that were searched on, and users that `gains` are of."""

    @property
    def given(self) -> FusionTrial:
        """The weights as they were given."""
        return self.trials[0]

    @property
    def best(self) -> FusionTrial:
        """The trial of the highest utility, the first of equal ones."""
        return max(self.trials, key=lambda trial: trial.utility)

    @property
    def best_fusion(self) -> Fusion:
        """The fusion with the best weights."""
        return self.fusion.with_weights(self.best.weights, self.tasks)

    @property
    def front(self) -> list[FusionTrial]:
        """The trials that none beats in every metric; a metric of negative weight is better when lower."""
        signs_M = np.array([-1.0 if weight < 0 else 1.0 for weight in self.utility.values()])
        values_TM = np.array([[trial.metrics[term] for term in self.utility] for trial in self.trials])
        return [trial for trial, kept in zip(self.trials, pareto_front(values_TM * signs_M), strict=True) if kept]

    def apply(self, fitted: P) -> P:
        """Return the recommender with the best weights declared and the outcome among its facts; the model is shared."""
        facts = replace(fitted.parts.facts, fusion_search=self.to_dict())
        spec = fitted.spec.replace(fusion=self.best_fusion)
        return type(fitted)(replace(fitted.parts, spec=spec, facts=facts), fitted.model)

    def to_dict(self, trials: bool = False) -> dict[str, Any]:
        """Return the outcome as JSON values, with every trial where asked for."""
        document = {
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
        plain = as_json(document)
        assert isinstance(plain, dict)
        return plain

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
