"""Adam for dense weights with less overhead per call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim


class QuickAdam(optim.Adam):
    """`torch.optim.Adam(fused=True)`, or AdamW, that collects weights and moments into lists once instead of at every step.

    On a model of a few small layers, collecting them and the hooks around `step` cost several times the update itself. Update
    kernels and state are those of torch; a step at which a weight has no gradient is delegated to torch.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float, decoupled: bool) -> None:
        super().__init__(groups, lr, weight_decay=weight_decay, fused=True, decoupled_weight_decay=decoupled)
        self._update = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._lists: list[tuple[dict[str, Any], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        gradients = [[weight.grad for weight in group["params"]] for group in self.param_groups if group["params"]]
        if not gradients:
            return None if closure is None else super().step(closure)
        if not self._lists or closure is not None or any(gradient is None for group in gradients for gradient in group):
            loss = super().step(closure)
            self._gather()
            return loss
        for (group, weights, averages, squares, steps), group_gradients in zip(self._lists, gradients, strict=True):
            beta1, beta2 = group["betas"]
            torch._foreach_add_(steps, 1)
            self._update(
                weights,
                group_gradients,
                averages,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        return None

    step.hooked = True  # type: ignore[attr-defined]  # keeps torch from adding its profiling hooks

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the next step collects the lists again."""
        self._lists = []
        super().load_state_dict(state_dict)

    def _gather(self) -> None:
        if all(weight in self.state for group in self.param_groups for weight in group["params"]):
            self._lists = [
                (group, group["params"], *([self.state[weight][name] for weight in group["params"]] for name in _STATE))
                for group in self.param_groups
                if group["params"]
            ]


_STATE = ("exp_avg", "exp_avg_sq", "step")
