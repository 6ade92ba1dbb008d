"""What makes a good row, for fusions that learn: the weighted labels of tasks. Shape letters: N rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polyrec.core.errors import UserError

_SMALLEST = 1e-12


def worth(target: Mapping[str, float], labels: Mapping[str, tuple[Tensor, Tensor]], kind: str) -> tuple[Tensor, Tensor]:
    """Return what each row (N,) is worth, between 0 and 1, and of which rows (N,) that is known.

    `y = sum_t |w_t| y_t / sum_t |w_t|` over the row's observed labels, each scaled to [0, 1] by its range; of a task with a
    weight below 0, `1 - y_t` counts. Without weights every task weighs 1. `kind` is the fusion that asks.

    Raises `UserError` for a task with several labels a row, and where no two rows that are known differ.
    """
    weights = target or dict.fromkeys(labels, 1.0)
    total_N = sum((torch.zeros_like(label) for _, label in labels.values()), start=torch.zeros(()))
    weight_N = total_N.clone()
    for task, weight in weights.items():
        if task not in labels:
            remedy = "Leave it out of `target`."
            raise UserError(f"target {task!r} of the fusion", expected="one label a row", found="several", remedy=remedy)
        mask_N, label_N = labels[task]
        low, high = (label_N[mask_N].min(), label_N[mask_N].max()) if mask_N.any() else (0.0, 1.0)
        share_N = ((label_N - low) / max(float(high - low), _SMALLEST)).clamp(0, 1)
        total_N += mask_N * abs(weight) * (share_N if weight > 0 else 1 - share_N)
        weight_N += mask_N * abs(weight)
    is_known_N = weight_N > 0
    if int(is_known_N.sum()) < 2 or bool((total_N[is_known_N] == total_N[is_known_N][0]).all()):
        found, remedy = "none that differ", "Give more validation rows, or other targets."
        raise UserError(f"the fusion {kind}", expected="validation rows to learn from", found=found, remedy=remedy)
    return total_N / weight_N.clamp(min=_SMALLEST), is_known_N
