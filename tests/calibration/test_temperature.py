"""Temperature scaling against a general minimiser, and what it leaves alone."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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


def test_gives_the_numbers_found_by_hand():
    """Of four rows of probability .8 three are true: sigmoid(ln 4 / T) = 3 / 4 at T = ln 4 / ln 3, so that .5 and .2 give 1 / 2
    and 1 / 4."""
    state = Temperature().fit(np.full(4, 0.8), np.array([1.0, 1.0, 1.0, 0.0]))
    assert state["temperature"][0] == pytest.approx(math.log(4) / math.log(3), rel=1e-9)
    calibrated = Temperature().apply(torch.tensor([0.8, 0.5, 0.2], dtype=torch.float64), state)
    torch.testing.assert_close(calibrated, torch.tensor([0.75, 0.5, 0.25], dtype=torch.float64))


def test_gives_the_shares_found_by_hand_of_classes_that_exclude_each_other():
    """Two thirds of the rows are of the class of probability .8: (4 : 1) to the power 1 / T = 1 / 2 is 2 : 1."""
    state = Temperature().fit(np.array([[0.8, 0.2]] * 3), np.array([0, 0, 1]))
    assert state["temperature"][0] == pytest.approx(2, rel=1e-9)
    calibrated = Temperature().apply(torch.tensor([[0.8, 0.2], [0.1, 0.9]], dtype=torch.float64), state)
    torch.testing.assert_close(calibrated, torch.tensor([[2 / 3, 1 / 3], [1 / 4, 3 / 4]], dtype=torch.float64))


def test_two_rows_may_change_places_in_a_class_that_excludes_others_but_no_two_classes_in_a_row():
    """.45 against five classes of .11 passes .5 against another .5, where T is 1 / 2."""
    asked = torch.tensor([[0.5, 0.5, 0, 0, 0, 0], [0.45, *[0.11] * 5]], dtype=torch.float64)
    calibrated = Temperature().apply(asked, pl.DataFrame({"temperature": [0.5], "exclusive": [True]}))
    torch.testing.assert_close(calibrated[:, 0], torch.tensor([0.5, 0.2025 / (0.2025 + 5 * 0.0121)], dtype=torch.float64))
    assert calibrated[1, 0] > calibrated[0, 0]
    assert torch.equal(calibrated.argmax(1), asked.argmax(1))


@given(temperature=st.floats(0.01, 100), single=st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_single_probabilities_and_labels_keep_their_order_at_any_temperature(temperature: float, single: list[float]):
    state = pl.DataFrame({"temperature": [temperature], "exclusive": [False]})
    asked = torch.tensor(single, dtype=torch.float64).sort().values
    assert (Temperature().apply(asked, state).diff() >= 0).all()
    assert (Temperature().apply(torch.stack([asked, asked], 1), state).diff(dim=0) >= 0).all()


@pytest.mark.parametrize("make", [exclusive, single])
@pytest.mark.parametrize("power", [0.2, 1.0, 3.0, 8.0])
def test_finds_what_a_general_minimiser_finds(make: Callable, power: float):
    prediction, target, loss = make(power)
    temperature = Temperature().fit(prediction, target)["temperature"][0]
    best = minimize_scalar(lambda log_t: loss(np.exp(log_t)), bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert temperature == pytest.approx(np.exp(best.x), rel=1e-5)
    assert temperature == pytest.approx(power, rel=0.1)


def test_softens_as_the_formula_says():
    prediction, target, _ = exclusive(3.0)
    state = Temperature().fit(prediction, target)
    calibrated = Temperature().apply(torch.from_numpy(prediction), state).numpy()
    np.testing.assert_allclose(calibrated, softmax(np.log(prediction) / state["temperature"][0]), atol=1e-12)


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
    temperature = Temperature(coldest=0.5, hottest=5.0).fit(prediction, target)["temperature"][0]
    assert temperature == pytest.approx(bound, rel=1e-6)


def test_a_class_of_probability_zero_that_came_true_is_survived():
    prediction = np.array([[1.0, 0.0], [0.6, 0.4], [0.3, 0.7]] * 5, dtype=np.float32)
    state = Temperature().fit(prediction, np.array([1, 0, 1] * 5))
    calibrated = Temperature().apply(torch.from_numpy(prediction), state)
    assert torch.isfinite(calibrated).all()
    assert calibrated[0, 0] < 1
