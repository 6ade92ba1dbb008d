"""Platt scaling against scikit-learn: its sigmoid calibration, and a logistic regression of the logits."""

import numpy as np
import pytest
import torch
from sklearn.calibration import _SigmoidCalibration
from sklearn.linear_model import LogisticRegression

from polyrec.calibration.platt import Platt


def rows(count: int = 400, slope: float = 0.4, shift: float = -0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    logit = generator.normal(0, 2, count)
    target = (generator.random(count) < 1 / (1 + np.exp(-(slope * logit + shift)))).astype(float)
    return logit, 1 / (1 + np.exp(-logit)), target


@pytest.mark.parametrize("count", [30, 400, 20_000])
def test_equals_scikit_learn_with_its_smoothed_targets(count: int):
    logit, prediction, target = rows(count)
    state = Platt().fit(prediction, target)
    oracle = _SigmoidCalibration().fit(logit, target)
    assert state["slope"][0] == pytest.approx(-oracle.a_, rel=1e-3, abs=1e-4)
    assert state["shift"][0] == pytest.approx(-oracle.b_, rel=1e-3, abs=1e-4)
    calibrated = Platt().apply(torch.from_numpy(prediction), state)
    np.testing.assert_allclose(calibrated.numpy(), oracle.predict(logit), atol=2e-4)


def test_without_smoothing_equals_a_logistic_regression_of_the_logits():
    logit, prediction, target = rows()
    state = Platt(smoothing=False).fit(prediction, target)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], target)
    assert state["slope"][0] == pytest.approx(oracle.coef_.item(), rel=1e-4)
    assert state["shift"][0] == pytest.approx(oracle.intercept_.item(), rel=1e-4)


def test_the_slope_of_the_loss_vanishes_at_what_it_finds():
    logit, prediction, target = rows()
    slope, shift = Platt().fit(prediction, target).row(0)
    ones, zeros = target.sum(), (1 - target).sum()
    smooth = np.where(target > 0, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    gap = 1 / (1 + np.exp(-(slope * logit + shift))) - smooth
    assert abs(gap.mean()) < 1e-9
    assert abs((gap * logit).mean()) < 1e-9


def test_a_wrong_overall_rate_is_mended():
    _, prediction, target = rows(20_000, slope=1.0, shift=-2.0)
    calibrated = Platt().apply(torch.from_numpy(prediction), Platt().fit(prediction, target))
    assert prediction.mean() > 2 * target.mean()
    assert calibrated.mean().item() == pytest.approx(target.mean(), rel=1e-3)


def test_predictions_in_the_wrong_order_become_the_rate_and_are_not_turned_round():
    _, prediction, target = rows(slope=-1.0, shift=0.0)
    state = Platt(smoothing=False).fit(prediction, target)
    calibrated = Platt().apply(torch.from_numpy(prediction), state)
    assert calibrated.numpy() == pytest.approx(np.full(len(target), target.mean()))


def test_by_hand():
    state = Platt().fit(np.full(10, 0.3), np.array([1.0] * 6 + [0.0] * 4))
    calibrated = Platt().apply(torch.tensor([0.3]).double(), state).item()
    assert calibrated == pytest.approx((6 * 7 / 8 + 4 * 1 / 6) / 10)
