"""`Fusion`: how the tasks' predictions become one score to rank by. Shape letters: B rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Self

import polars as pl
import torch
from torch import Tensor

from polyrec.core.errors import UserError, nearest
from polyrec.core.spec import Family
from polyrec.fusion.context import NO_CONTEXT, Context

State = Mapping[str, pl.DataFrame]
"""What a fusion learned: frames whose columns each kind documents; empty for one that learns nothing."""


class Fusion(Family, family="fusions"):
    """One score from the predictions of the scalar tasks (a probability, a number), calibrated where that is declared."""

    compares_rows: ClassVar[bool] = False
    """Whether the score of a row depends on the other rows of its request."""

    learns: ClassVar[bool] = False
    """Whether `fit` must have learned from labelled rows before there are scores."""

    def names(self) -> Sequence[str]:
        """Return the tasks that the fusion names; empty means every scalar task."""
        raise NotImplementedError

    def check(self, scalar_tasks: Sequence[str], all_tasks: Sequence[str]) -> None:
        """Raise `UserError` where the fusion names a task that is absent or gives no single number."""
        for name in self.names():
            if name not in scalar_tasks:
                found = "a task with several outputs" if name in all_tasks else "no such task"
                remedy = nearest(name, scalar_tasks)
                raise UserError(f"fusion of {name!r}", expected="a task with one number a row", found=found, remedy=remedy)

    def states_of(self, tasks: Sequence[str]) -> Sequence[str]:
        """Return the tasks, of all those given, whose hidden states the context of `fit` and `score` must hold."""
        return ()

    def features_of(self) -> Sequence[str]:
        """Return the features whose vectors the context must hold."""
        return ()

    def fit(
        self,
        predictions: Mapping[str, Tensor],
        labels: Mapping[str, tuple[Tensor, Tensor]],
        probabilities: Collection[str],
        context: Context = NO_CONTEXT,
    ) -> State:
        """Learn from rows that the model did not learn from, after calibration; by default nothing.

        `labels` holds by task which rows have a label (B,) and the label of each row (B,), in the units of the predictions;
        `probabilities` names the tasks whose prediction is one.
        """
        return {}

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        """Return the score (B,) from predictions (B,) in the tasks' own units, higher is better.

        `requests` (B,) holds a whole number for each row, the same for rows that are candidates of one list, such as one
        user's; without it all rows are. Scores are compared within a request. `state` is what `fit` learned. A row's score has
        the same bits wherever the row stands among others.
        """
        raise NotImplementedError

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        """Return the weights that `with_weights` can set, by name, as they are; `tasks` are the scalar ones."""
        raise NotImplementedError

    def weights_of(self, tasks: Sequence[str], state: State | None, context: Context) -> dict[str, Tensor]:
        """Return the weights by name as they are of the rows of a context, (B,), or (1,) where all rows have the same."""
        return {name: torch.tensor([value], dtype=torch.float64) for name, value in self.weights_among(tasks).items()}

    def with_weights(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        """Return the fusion with some of its weights set to other values; `tasks` are the scalar ones.

        Raises `UserError` for a name that is no weight, and for a value that is no finite number.
        """
        known = self.weights_among(tasks)
        for name, value in weights.items():
            thing = f"weight {name!r} of the fusion"
            if name not in known:
                raise UserError(thing, expected="the name of a weight", found="none", remedy=nearest(name, known))
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(thing, expected="a finite number", found=repr(value), remedy="Give a number, such as 0.5.")
        return self._replaced({name: float(value) for name, value in weights.items()}, tasks)

    def scales(self, predictions: Mapping[str, Tensor]) -> dict[str, float]:
        """Return for each weight that is worth a search how large one is that matters, such as 1 over the spread of what it
        multiplies; predictions are (B,)."""
        return {name: abs(value) or 1.0 for name, value in self.weights_among(list(predictions)).items()}

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        """Return the fusion with these weights among its own; they were checked."""
        raise NotImplementedError


def double(values: Tensor) -> Tensor:
    """Scores are added up in double precision, so that a sum of few terms ranks alike on every runtime."""
    return values.to(torch.float64)
