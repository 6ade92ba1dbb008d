"""Temperature scaling against a general minimiser, and what it leaves alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from polyrec.calibration.temperature import Temperature


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def exclusive(power: float, count: int = 3000) -> tuple[np.ndarray, np.ndarray, Callable[[float], float]]:
    """Return probabilities of five classes, class numbers, and the mean loss at a temperature, written out."""
    generator = np.random.default_rng(5)
    logits = generator.normal(size=(count, 5))
    target = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    off = power * logits
    return softmax(off), target, lambda t: float(-np.log(softmax(off / t)[np.arange(count), target]).mean())


def single(power: float, count: int = 3000) -> tuple[np.ndarray, np.ndarray, Callable[[float], float]]:
    """Return single probabilities, zeros and ones, and the mean loss at a temperature, written out."""
    generator = np.random.default_rng(5)
    logit = generator.normal(size=count)
    target = (generator.random(count) < 1 / (1 + np.exp(-logit))).astype(float)
    sign = np.where(target > 0, -1.0, 1.0)
    return 1 / (1 + np.exp(-power * logit)), target, lambda t: float(np.logaddexp(0, sign * power * logit / t).mean())


@pytest.mark.parametrize("make", [exclusive, single])
@pytest.mark.parametrize("power", [0.2, 1.0, 3.0, 8.0])
def test_finds_what_a_general_minimiser_finds(make: Callable, power: float):
    prediction, target, loss = make(power)
    found = Temperature().fit(prediction, target)["temperature"][0]
    best = minimize_scalar(lambda log_t: loss(np.exp(log_t)), bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(best.x), rel=1e-5)
    assert found == pytest.approx(power, rel=0.1)


def test_softens_as_the_formula_says():
    prediction, target, _ = exclusive(3.0)
    state = Temperature().fit(prediction, target)
    told = Temperature().apply(torch.from_numpy(prediction), state).numpy()
    np.testing.assert_allclose(told, softmax(np.log(prediction) / state["temperature"][0]), atol=1e-12)


def test_labels_that_may_hold_together_are_scaled_each_for_itself():
    prediction, target, _ = single(3.0)
    one = Temperature().fit(prediction, target)
    several = Temperature().fit(prediction.reshape(-1, 3), target.reshape(-1, 3))
    assert several["temperature"][0] == pytest.approx(one["temperature"][0], rel=1e-9)
    assert not several["exclusive"][0]


@pytest.mark.parametrize(("turned", "bound"), [(False, 0.5), (True, 5.0)])
def test_stays_within_its_bounds_where_there_is_no_best(turned: bool, bound: float):
    prediction = np.linspace(0.01, 0.99, 100)
    target = ((prediction > 0.5) != turned).astype(float)
    found = Temperature(coldest=0.5, hottest=5.0).fit(prediction, target)["temperature"][0]
    assert found == pytest.approx(bound, rel=1e-6)


def test_a_class_of_probability_zero_that_came_true_is_survived():
    prediction = np.array([[1.0, 0.0], [0.6, 0.4], [0.3, 0.7]] * 5, dtype=np.float32)
    state = Temperature().fit(prediction, np.array([1, 0, 1] * 5))
    told = Temperature().apply(torch.from_numpy(prediction), state)
    assert torch.isfinite(told).all()
    assert told[0, 0] < 1
