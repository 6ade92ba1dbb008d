"""`Fusion`: how the tasks' predictions become one score to rank by. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polyrec.core.errors import UserError, nearest
from polyrec.core.spec import Family


class Fusion(Family, family="fusions"):
    """One score from the predictions of the scalar tasks (a probability, a number)."""

    def parts(self) -> Mapping[str, float]:
        """The weight or power of each task that is named; empty means 1 for every scalar task."""
        raise NotImplementedError

    def check(self, scalar_tasks: Sequence[str], all_tasks: Sequence[str]) -> None:
        """Raise `UserError` where the fusion names a task that is absent or gives no single number."""
        for name in self.parts():
            if name not in scalar_tasks:
                found = "a task with several outputs" if name in all_tasks else "no such task"
                remedy = nearest(name, scalar_tasks)
                raise UserError(f"fusion of {name!r}", expected="a task with one number a row", found=found, remedy=remedy)

    def score(self, predictions: Mapping[str, Tensor]) -> Tensor:
        """Return the score (B,) from predictions (B,) in the tasks' own units, higher is better."""
        raise NotImplementedError

    def _named(self, predictions: Mapping[str, Tensor]) -> dict[str, float]:
        return dict(self.parts()) or dict.fromkeys(predictions, 1.0)


def double(values: Tensor) -> Tensor:
    """Scores are added up in double precision, so that a sum of few terms ranks alike on every runtime."""
    return values.to(torch.float64)
