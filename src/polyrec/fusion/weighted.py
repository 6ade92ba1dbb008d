"""Base classes of fusions with one number per task: a weight or a power. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from torch import Tensor

from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.fusion.fusion import Fusion, State, double


class WeightedFusion(Fusion, kind=False):
    """A fusion with a number for each task, in the field that `parts_field` names; tasks not named are ignored."""

    parts_field: ClassVar[str] = "weights"

    def parts(self) -> Mapping[str, float]:
        """Return the weight or power of each named task; empty means 1 for every scalar task."""
        return dict(getattr(self, self.parts_field))

    def names(self) -> Sequence[str]:
        return tuple(self.parts())

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        given = self.parts()
        return {task: given.get(task, 0.0 if given else 1.0) for task in tasks}

    def scales(self, predictions: Mapping[str, Tensor]) -> dict[str, float]:
        spreads = {task: float(self.term(predictions[task]).std()) for task in self.named(predictions)}
        return {task: 1 / spread if spread > 0 else 1.0 for task, spread in spreads.items()}

    def named(self, predictions: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the weight or power of each task that is not ignored."""
        return dict(self.parts()) or dict.fromkeys(predictions, 1.0)

    def term(self, prediction_B: Tensor) -> Tensor:
        """Return the term (B,) that a task's weight or power multiplies, in double precision."""
        return double(prediction_B)

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        return self.replace(**{self.parts_field: {**(self.parts() or dict.fromkeys(tasks, 1.0)), **weights}})


class SummedFusion(WeightedFusion, kind=False):
    """A fusion whose score increases with the sum over tasks of weight times `term`, row by row."""

    def combined(self, weights: Mapping[str, float | Tensor], predictions: Mapping[str, Tensor]) -> Tensor:
        """Return the score (B,) for weights by task that are common to all rows, or per row: (B,) or (1,)."""
        raise NotImplementedError

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        return self.combined(self.named(predictions), predictions)
