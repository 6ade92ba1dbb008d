"""The target of fusions that learn: a weighted mean of task labels. Shape letters: N rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polyrec.core.errors import UserError

_SMALLEST = 1e-12


def worth(target: Mapping[str, float], labels: Mapping[str, tuple[Tensor, Tensor]], kind: str) -> tuple[Tensor, Tensor]:
    """Return the target (N,) of each row, between 0 and 1, and the mask (N,) of rows that have one.

    `y = sum_t |w_t| y_t / sum_t |w_t|` over the row's observed labels, each scaled to [0, 1] by its range; for a task with a
    negative weight, `1 - y_t` is used. Without weights every task has the weight 1. `kind` is the kind of the fusion, for
    errors.

    Raises `UserError` for a task with several labels per row, and if all targets are equal.
    """
    weights = target or dict.fromkeys(labels, 1.0)
    total_N = sum((torch.zeros_like(label) for _, label in labels.values()), start=torch.zeros(()))
    weight_N = total_N.clone()
    for task, weight in weights.items():
        if task not in labels:
            remedy = "Remove it from `target`."
            raise UserError(f"target {task!r} of the fusion", expected="one label per row", found="several", remedy=remedy)
        mask_N, label_N = labels[task]
        low, high = (label_N[mask_N].min(), label_N[mask_N].max()) if mask_N.any() else (0.0, 1.0)
        share_N = ((label_N - low) / max(float(high - low), _SMALLEST)).clamp(0, 1)
        total_N += mask_N * abs(weight) * (share_N if weight > 0 else 1 - share_N)
        weight_N += mask_N * abs(weight)
    is_labelled_N = weight_N > 0
    if int(is_labelled_N.sum()) < 2 or bool((total_N[is_labelled_N] == total_N[is_labelled_N][0]).all()):
        found, remedy = "none that differ", "Provide more validation rows, or another target."
        raise UserError(f"the fusion {kind}", expected="validation rows to learn from", found=found, remedy=remedy)
    return total_N / weight_N.clamp(min=_SMALLEST), is_labelled_N
