"""Product: the probability of a path of events. Shape letters: B rows."""

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
    """The output of the task is a conditional probability; its prediction is the product over it and all earlier tasks.

    `P(buy) = p(click) p(buy | click)` (ESMM; Ma et al., SIGIR 2018), and `P(t) = prod_{a before or at t} p_a` for any acyclic
    graph, each earlier task once. The loss is the binary cross-entropy of the path's probability over ALL rows, which avoids
    the selection bias of training on clicked rows; where an earlier event did not happen, the label is false. Products are
    computed as sums of log-sigmoids. Prediction: the probability of the path. Before calibration it does not exceed that
    of an earlier task.

    With `propensity_clip`, the conditional probability has an additional loss on the rows where the earlier events happened.
    Each of these rows is weighted by the inverse of their predicted probability p, `1 / max(p, propensity_clip)`, without
    gradient through p (ESCM2-IPS; Wang et al., SIGIR 2022). The propensity is clipped; some implementations clip the weight
    (for p times the number of clicks) instead.
    """

    examples = ({"tasks": ["like"]}, {"tasks": ["like"], "propensity_clip": 0.05, "propensity_weight": 0.5})

    forms_path = True

    propensity_clip: float | None = Field(default=None, gt=0, le=1)
    """Lower bound of the propensity in the inverse-propensity loss; unset, this loss is not used."""
    propensity_weight: float = Field(default=1.0, gt=0)
    """Weight of the inverse-propensity loss relative to the loss of the path."""

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
        """Set the label to false in rows where a direct predecessor is observed to be false."""
        target, mask = targets[task.name], masks[task.name]
        for earlier in self.tasks:
            if earlier not in targets:
                continue
            is_false = masks[earlier] & (targets[earlier] == 0)
            contradicts = is_false & mask & (target == 1)
            if contradicts.any():
                raise UserError(
                    f"label {task.label!r} of the task {task.name!r}",
                    expected=f"false wherever the earlier task {earlier!r} is false",
                    found=f"{int(contradicts.sum())} rows in which it is true and {earlier!r} is not",
                    remedy=f"Fix the labels, or drop `after` from the task {task.name!r}.",
                )
            target, mask = torch.where(is_false, 0.0, target), mask | is_false
        return target, mask

    def label(self, label: str, earlier: Sequence[str]) -> str:
        """Return the label of the complete path: false where an earlier task is observed to be false."""
        for condition in earlier:
            label = f"CASE WHEN CAST(({condition}) AS BOOLEAN) = FALSE THEN FALSE ELSE CAST(({label}) AS BOOLEAN) END"
        return label

    def _propensity_loss(self, path: Path, raw: Raw, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        if self.propensity_clip is None:
            return torch.zeros(())
        propensity_B = _log_probability([name for name in path.chain if name != path.task], raw).detach().exp()
        conditional_B = functional.binary_cross_entropy_with_logits(raw[path.task], targets[path.task], reduction="none")
        weight_B = happened(path.earlier, targets, masks) / propensity_B.clamp(min=self.propensity_clip)
        return self.propensity_weight * weight_B * conditional_B


def _log_probability(names: Sequence[str], raw: Raw) -> Tensor:
    """Return the logarithm of the product of the probabilities of some tasks, (B,)."""
    return sum((functional.logsigmoid(raw[name]) for name in names), start=torch.zeros(()))


def _log_one_minus(log_B: Tensor) -> Tensor:
    """Return `log(1 - exp(log_B))` for `log_B < 0`, accurate near 0 and far from it (Maechler, 2012)."""
    log_B = log_B.clamp(max=-1e-7)
    near_zero = log_B > -math.log(2)
    return torch.where(near_zero, (-torch.expm1(log_B)).log(), torch.log1p(-torch.exp(torch.where(near_zero, -1.0, log_B))))
