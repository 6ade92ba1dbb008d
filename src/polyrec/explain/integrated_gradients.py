"""Integrated gradients: the contribution of each feature to each task's prediction for one user and one item.

Shape letters: S steps, D width of all features together, C outputs of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from polyrec.model.objective import Objective
from polyrec.predict.predictor import Predictor

FIRST_STEPS, MOST_STEPS = 32, 512
"""First and largest number of steps of the sum; it is doubled until the gap is small."""

SMALL_GAP = 0.01
"""Largest accepted gap: the share of the difference that the contributions may miss."""


@dataclass(frozen=True)
class Attribution:
    """The contributions of the features to one output of a task."""

    prediction: float
    """Prediction before calibration, in the label's units."""
    baseline: float
    """Prediction for a row whose features are all unknown."""
    contributions: Mapping[str, float]
    """Contribution of each feature, the largest magnitude first."""

    @property
    def gap(self) -> float:
        """Share of the difference to the baseline that the contributions miss; 0 if there is no difference."""
        difference = self.prediction - self.baseline
        missed = abs(difference - sum(self.contributions.values()))
        return missed / abs(difference) if abs(difference) > 1e-6 else 0.0


def attribute(fitted: Predictor, x_1D: Tensor, baseline_1D: Tensor) -> dict[str, Attribution]:
    """Attribute every task's prediction to features, given their concatenated vectors `x` and those of a baseline `b`.

    `a_i = (x_i - b_i) * mean_s d f(b + s (x - b)) / d x_i` over the midpoints s of S equal steps of [0, 1] (Sundararajan et
    al., ICML 2017), summed over the dimensions of each feature. Contributions sum to `f(x) - f(b)` as S grows (completeness).
    S is doubled from 32 up to 512 until they miss at most a hundredth of the difference; captum uses a fixed number. A task of
    several classes is explained by its most likely class.
    """
    steps = FIRST_STEPS
    while True:
        attributions = _attributed(fitted, x_1D, baseline_1D, steps)
        if steps >= MOST_STEPS or all(attribution.gap <= SMALL_GAP for attribution in attributions.values()):
            return attributions
        steps *= 2


def _attributed(fitted: Predictor, x_1D: Tensor, baseline_1D: Tensor, steps: int) -> dict[str, Attribution]:
    model, objective = fitted.model, Objective(fitted.spec.tasks)
    share_S = (torch.arange(steps) + 0.5) / steps
    path_SD = (baseline_1D + share_S[:, None] * (x_1D - baseline_1D)).detach().requires_grad_()
    ends = objective.predictions(model.decode(torch.cat([x_1D, baseline_1D])), fitted.parts.task_states)
    along = objective.predictions(model.decode(path_SD), fitted.parts.task_states)
    attributions = {}
    for task in fitted.spec.tasks:
        names = task.names(fitted.parts.task_states[task.name])
        end_2C = ends[task.name].detach().reshape(2, -1)
        place = int(end_2C[0].argmax()) if len(names) > 1 else 0
        (gradient_SD,) = torch.autograd.grad(along[task.name].reshape(steps, -1)[:, place].sum(), path_SD, retain_graph=True)
        added_D = ((x_1D - baseline_1D) * gradient_SD.mean(0, keepdim=True))[0].detach()
        parts = {name: float(added_D[columns].sum()) for name, columns in _columns(fitted).items()}
        ordered = dict(sorted(parts.items(), key=lambda part: -abs(part[1])))
        attributions[names[place]] = Attribution(float(end_2C[0, place]), float(end_2C[1, place]), ordered)
    return attributions


def _columns(fitted: Predictor) -> dict[str, Tensor]:
    """Return the columns of each feature in the concatenated vector; features that are part of a joint have none."""
    places = {feature.name: fitted.model.columns([feature.name]) for feature in fitted.spec.all_features}
    return {name: place for name, place in places.items() if len(place)}
