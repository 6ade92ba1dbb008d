"""Product: the probability of a whole path. Shape letters: B rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polyrec.core.errors import UserError
from polyrec.tasks.link import Link, Linked, Path, Raw, happened


class Product(Link):
    """The task's own output is conditional; the probability of the path is the product over it and all tasks before it.

    `P(buy) = p(click) p(buy | click)` (ESMM; Ma et al., SIGIR 2018), for any graph `P(t) = prod_{a before or at t} p_a`, each
    earlier task once. The loss is binary cross-entropy of the path's probability over ALL rows, so that the conditional part
    suffers no selection bias; a row where an earlier task did not happen is one where this one did not. Products are formed
    from logits, in logarithms. Prediction: the probability of the path; before calibration it never exceeds that of an
    earlier task.

    With `propensity_clip` the conditional output also has a loss of its own over the rows where the earlier tasks
    happened, each weighted by the inverse of their predicted probability p, `1 / max(p, propensity_clip)`, taken as given
    (ESCM2-IPS; Wang et al., SIGIR 2022). Unlike ports that clip the weight (of p times the number of clicks),
    the propensity is clipped.
    """

    examples = ({"tasks": ["like"]}, {"tasks": ["like"], "propensity_clip": 0.05, "propensity_weight": 0.5})

    forms_path = True

    propensity_clip: float | None = Field(default=None, gt=0, le=1)
    """Least propensity that a row is weighted by the inverse of; unset, there is no such loss."""
    propensity_weight: float = Field(default=1.0, gt=0)
    """Weight of the inverse-propensity loss beside the loss of the path."""

    def check(self, task: Linked, earlier: Linked) -> None:
        if not (task.is_logit and earlier.is_logit):
            remedy = "Make both Binary, or use Transfer."
            thing = f"task {task.name!r} comes after {earlier.name!r} by a Product"
            raise ValueError(f"{thing}, which is of probabilities. {remedy}")

    def probability(self, path: Path, raw: Raw) -> Tensor:
        return _log_probability(path.chain, raw).exp()

    def loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        log_B, target_B = _log_probability(path.chain, raw), targets[path.task]
        return -target_B * log_B - (1 - target_B) * _log_one_minus(log_B)

    def training_loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        return self.loss(loss_B, path, raw, targets, probability) + self._propensity_loss(path, raw, targets, masks)

    def complete(self, task: Linked, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Set to "did not happen" what could not: rows where a task right before is known not to have happened."""
        target, mask = targets[task.name], masks[task.name]
        for earlier in self.tasks:
            if earlier not in targets:
                continue
            missed = masks[earlier] & (targets[earlier] == 0)
            both = missed & mask & (target == 1)
            if both.any():
                raise UserError(
                    f"label {task.label!r} of the task {task.name!r}",
                    expected=f"that it is false wherever {earlier!r} is, which comes before it",
                    found=f"{int(both.sum())} rows in which it is true and {earlier!r} is not",
                    remedy=f"Mend the labels, or drop `after` from the task {task.name!r}.",
                )
            target, mask = torch.where(missed, 0.0, target), mask | missed
        return target, mask

    def label(self, label: str, earlier: Sequence[str]) -> str:
        """Return the label of the whole path: false where an earlier task is known not to have happened."""
        for before in earlier:
            label = f"CASE WHEN CAST(({before}) AS BOOLEAN) = FALSE THEN FALSE ELSE CAST(({label}) AS BOOLEAN) END"
        return label

    def _propensity_loss(self, path: Path, raw: Raw, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        if self.propensity_clip is None:
            return torch.zeros(())
        propensity_B = _log_probability([name for name in path.chain if name != path.task], raw).detach().exp()
        conditional_B = functional.binary_cross_entropy_with_logits(raw[path.task], targets[path.task], reduction="none")
        weight_B = happened(path.earlier, targets, masks) / propensity_B.clamp(min=self.propensity_clip)
        return self.propensity_weight * weight_B * conditional_B


def _log_probability(names: Sequence[str], raw: Raw) -> Tensor:
    """Return the logarithm of the product of some tasks' probabilities, (B,)."""
    return sum((functional.logsigmoid(raw[name]) for name in names), start=torch.zeros(()))


def _log_one_minus(log_B: Tensor) -> Tensor:
    """Return log(1 - exp(log_B)) for log_B < 0, exact at both ends (Maechler, 2012)."""
    log_B = log_B.clamp(max=-1e-7)
    near_zero = log_B > -math.log(2)
    return torch.where(near_zero, (-torch.expm1(log_B)).log(), torch.log1p(-torch.exp(torch.where(near_zero, -1.0, log_B))))
