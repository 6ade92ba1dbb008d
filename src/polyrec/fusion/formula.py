"""Formula: a score given as an expression. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from polyrec.core.errors import UserError, nearest
from polyrec.fusion.arithmetic import FUNCTIONS, evaluate, names_in, parse
from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.fusion.fusion import Fusion, State, double

LAST = torch.finfo(torch.float64).min
"""Score of rows whose formula has no finite value: the lowest finite double, which JSON can represent."""


class Formula(Fusion):
    """`s = expression`, such as `like ** 2 * log1p(stars) - 0.1 * complaint`, over predictions in the units of their tasks.

    An expression contains numbers, names of tasks and of `weights`, `+ - * / **`, unary minus, and the functions min, max (two
    or more arguments), log, log1p, exp, sqrt, abs, clip (value, minimum, maximum) and sigmoid. A task whose name is not a
    Python identifier is quoted: `'add to cart' * 2`. Everything else is refused and no code is executed; length, depth and
    powers are limited. The score is computed in double precision. Rows whose value is not finite, such as the logarithm of 0,
    rank last.
    """

    examples = (
        {"expression": "like ** 2 * log1p(stars)"},
        {"expression": "clip(w * like, 0, 5) + bonus * sqrt(stars)", "weights": {"w": 0.5, "bonus": 0.1}},
    )

    expression: str
    """Formula over names of tasks and weights."""
    weights: dict[str, float] = {}
    """Named constants, which a search can tune and a request can override."""

    @model_validator(mode="after")
    def _check_expression(self) -> Self:
        names = names_in(parse(self.expression))
        for name in self.weights:
            if name not in names:
                raise ValueError(f"the weight {name!r} does not occur in {self.expression!r}. {nearest(name, names)}")
        if not self.names():
            raise ValueError(f"the formula {self.expression!r} names no task")
        return self

    def names(self) -> Sequence[str]:
        return [name for name in names_in(parse(self.expression)) if name not in self.weights]

    def check(self, scalar_tasks: Sequence[str], all_tasks: Sequence[str]) -> None:
        for name in self.weights:
            if name in all_tasks:
                remedy = "Rename the weight."
                thing = f"weight {name!r} of the formula"
                raise UserError(thing, expected="a name that no task has", found="the name of a task", remedy=remedy)
        for name in self.names():
            if name not in all_tasks:
                remedy = nearest(name, [*scalar_tasks, *self.weights, *FUNCTIONS])
                raise UserError(
                    f"{name!r} in the formula {self.expression!r}",
                    expected="a task or a weight",
                    found="no such task",
                    remedy=remedy,
                )
        super().check(scalar_tasks, all_tasks)

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        tasks = {name: double(predictions[name]) for name in self.names()}
        weights = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.weights.items()}
        score_B = evaluate(parse(self.expression), tasks | weights)
        return torch.where(torch.isfinite(score_B), score_B, torch.tensor(LAST, dtype=torch.float64))

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        return dict(self.weights)

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        return self.replace(weights={**self.weights, **weights})
