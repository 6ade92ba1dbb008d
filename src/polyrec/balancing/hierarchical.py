"""Hierarchical: weight a task by how well the tasks of higher priority are met. Shape letters: T tasks, P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients
from polyrec.core.errors import UserError, nearest


class Hierarchical(Balancer):
    """`w_t = max(least, product of m_j over the tasks j above t)`; m_j in [0, 1] states how well task j is met.

    The skill of a task is the relative improvement over its best constant, `1 - L / c`, with the training loss smoothed over
    steps. This is goal programming by priorities (Charnes and Cooper, Wiley 1961) in its soft or lexicographic form, adapted to
    training: weights are at most 1 and depend on the previous steps only. Tasks that `order` does not name share the lowest
    priority.
    """

    examples = (
        {},
        {"order": ["like"], "targets": {"like": 0.2}},
        {"order": ["stars", "like"], "targets": {"stars": 0.1, "like": 0.1}, "rule": "lexicographic", "least": 0.05},
    )

    order: tuple[str, ...] = ()
    """Tasks by descending priority."""
    targets: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}
    """Skill at which a task counts as met; required for every task in `order` that has a task below it."""
    rule: Literal["gradual", "lexicographic"] = "gradual"
    """Map from skill to m: `gradual` is `skill / target` up to 1; `lexicographic` is 1 from the target on and 0 below."""
    tolerance: float = Field(default=0.02, ge=0, le=1)
    """Skill that a met task may lose before it counts as unmet again, which prevents oscillating weights (lexicographic)."""
    least: float = Field(default=0.01, ge=0, le=1)
    """Minimum weight; with 0, lower tasks learn nothing until all higher ones have any skill."""
    smoothing: float = Field(default=0.98, ge=0, lt=1)
    """Decay of the exponential moving average of the losses."""

    @model_validator(mode="after")
    def _fit_targets_to_order(self) -> Self:
        if len(set(self.order)) < len(self.order):
            raise ValueError(f"`order` names a task twice: {', '.join(self.order)}")
        for task in self.targets:
            if task not in self.order:
                raise ValueError(f"`targets` names {task!r}, which `order` does not contain. {nearest(task, self.order)}")
        return self

    def build(self, tasks: Sequence[str]) -> Balance:
        for name in self.order:
            if name not in tasks:
                raise UserError(f"order: {name!r}", expected="a task's name", found="no such task", remedy=nearest(name, tasks))
        above = self.order[:-1] if len(self.order) == len(tasks) else self.order
        for name in above:
            if name not in self.targets:
                raise UserError(
                    f"target of {name!r}",
                    expected="a skill, as lower tasks depend on it",
                    found="none",
                    remedy=f"Add the skill at which {name!r} is met, such as 0.2, to `targets`.",
                )
        return HierarchicalBalance(tasks, self, above)


class HierarchicalBalance(Balance):
    """Smoothed loss of each task (0 before its first label), and whether the task is met."""

    smoothed_T: Tensor
    seen_T: Tensor
    met_T: Tensor
    below_TT: Tensor
    target_T: Tensor

    def __init__(self, tasks: Sequence[str], spec: Hierarchical, above: Sequence[str]) -> None:
        super().__init__(tasks)
        self.spec = spec
        rank = [above.index(task) if task in above else len(above) for task in self.tasks]
        self.register_buffer("smoothed_T", torch.zeros(len(rank)))
        self.register_buffer("seen_T", torch.zeros(len(rank), dtype=torch.bool))
        self.register_buffer("met_T", torch.zeros(len(rank), dtype=torch.bool))
        rank_T = torch.tensor(rank)
        self.register_buffer("below_TT", rank_T[:, None] > rank_T, persistent=False)
        target_T = torch.tensor([spec.targets.get(task, 1.0) for task in self.tasks])
        self.register_buffer("target_T", target_T, persistent=False)

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        present, loss_P = self.present(losses), self.stacked(losses)
        weight_T = torch.where(self.below_TT, self._met(), 1.0).prod(1).clamp_min(self.spec.least)
        seen_P, smoothed_P, kept = self.seen_T[present], self.smoothed_T[present], self.spec.smoothing
        now_P = loss_P.detach()
        self.smoothed_T[present] = torch.where(seen_P, kept * smoothed_P + (1 - kept) * now_P, now_P)
        self.seen_T[present] = True
        return (weight_T[present] * loss_P).sum()

    def _met(self) -> Tensor:
        """Return how well each task is met, (T,); 0 for a task without labels so far."""
        skill_T = torch.where(self.seen_T, 1 - self.smoothed_T / self.constants_T, -torch.inf)
        if self.spec.rule == "gradual":
            return (skill_T / self.target_T).clamp(0, 1)
        goal_T = self.target_T - torch.where(self.met_T, self.spec.tolerance, 0.0)
        self.met_T.copy_(skill_T >= goal_T)
        return self.met_T.to(skill_T)
