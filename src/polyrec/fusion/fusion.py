"""`Fusion`: combine the predictions of all tasks into one ranking score. Shape letters: B rows."""

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
"""Learned state of a fusion: frames whose columns each kind documents; empty for a fusion that does not learn."""


class Fusion(Family, family="fusions"):
    """One score from the predictions of the scalar tasks (a probability, a number), calibrated where declared."""

    compares_rows: ClassVar[bool] = False
    """Whether the score of a row depends on the other rows of its request."""

    learns: ClassVar[bool] = False
    """Whether `fit` must learn from labelled rows before `score` is called."""

    def names(self) -> Sequence[str]:
        """Return the tasks that the fusion names; empty means every scalar task."""
        raise NotImplementedError

    def check(self, scalar_tasks: Sequence[str], all_tasks: Sequence[str]) -> None:
        """Raise `UserError` if the fusion names a task that is absent or has several outputs."""
        for name in self.names():
            if name not in scalar_tasks:
                found = "a task with several outputs" if name in all_tasks else "no such task"
                remedy = nearest(name, scalar_tasks)
                raise UserError(f"fusion of {name!r}", expected="a task with one number a row", found=found, remedy=remedy)

    def states_of(self, tasks: Sequence[str]) -> Sequence[str]:
        """Return those of the given tasks whose hidden states `fit` and `score` need in the context."""
        return ()

    def features_of(self) -> Sequence[str]:
        """Return the features whose vectors `fit` and `score` need in the context."""
        return ()

    def fit(
        self,
        predictions: Mapping[str, Tensor],
        labels: Mapping[str, tuple[Tensor, Tensor]],
        probabilities: Collection[str],
        context: Context = NO_CONTEXT,
    ) -> State:
        """Learn from held-out rows, after calibration; does nothing by default.

        `labels` contains, for each task, the mask of labelled rows (B,) and the label of each row (B,), in the units of the
        predictions; `probabilities` are the tasks that predict a probability.
        """
        return {}

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        """Return the score (B,) from predictions (B,) in the units of their tasks; higher is better.

        `requests` (B,) contains an integer for each row, equal for the candidates of one list, such as those of one user;
        without it all rows form one list. Only scores of the same request are comparable. `state` is the result of `fit`. The
        score of a row is bit for bit independent of its position.
        """
        raise NotImplementedError

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        """Return the current value of each weight that `with_weights` can set, by name; `tasks` are the scalar tasks."""
        raise NotImplementedError

    def weights_of(self, tasks: Sequence[str], state: State | None, context: Context) -> dict[str, Tensor]:
        """Return the weights of the rows of a context, by name, (B,), or (1,) if all rows have the same."""
        return {name: torch.tensor([value], dtype=torch.float64) for name, value in self.weights_among(tasks).items()}

    def with_weights(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        """Return the fusion with some weights set to other values; `tasks` are the scalar tasks.

        Raises `UserError` for a name that is not a weight, and for a value that is not a finite number.
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
        """Return the typical magnitude of each weight worth searching, such as 1 divided by the standard deviation of the term
        that it multiplies; predictions are (B,)."""
        return {name: abs(value) or 1.0 for name, value in self.weights_among(list(predictions)).items()}

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        """Return the fusion with these validated weights replaced."""
        raise NotImplementedError


def double(values: Tensor) -> Tensor:
    """Convert to double precision, so that a sum of few terms ranks identically on every runtime."""
    return values.to(torch.float64)
