"""Isotonic calibration against scikit-learn's isotonic regression, and against every monotone fit of few rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from polyrec.calibration.isotonic import Isotonic, pool_adjacent_violators


def reference(prediction: np.ndarray, target: np.ndarray) -> IsotonicRegression:
    return IsotonicRegression(out_of_bounds="clip").fit(prediction.astype(float), target.astype(float))


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=120))
def test_equals_scikit_learn_on_and_between_and_outside_the_rows(pairs: list[tuple[int, bool]]):
    prediction = np.array([place / 40 + 0.1 for place, _ in pairs])
    target = np.array([float(hit) for _, hit in pairs])
    asked = np.linspace(0, 1, 401)
    calibrated = Isotonic().apply(torch.from_numpy(asked), Isotonic().fit(prediction, target)).numpy()
    np.testing.assert_allclose(calibrated, reference(prediction, target).predict(asked), atol=1e-9)


def test_equals_scikit_learn_on_many_rows():
    generator = np.random.default_rng(0)
    prediction = generator.random(50_000).astype(np.float32)
    target = (generator.random(50_000) < prediction**2).astype(float)
    calibrated = Isotonic().apply(torch.from_numpy(prediction), Isotonic().fit(prediction, target)).double().numpy()
    np.testing.assert_allclose(calibrated, reference(prediction, target).predict(prediction), atol=1e-6)


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=40).flatmap(
        lambda means: st.tuples(st.just(means), st.lists(st.integers(1, 9), min_size=len(means), max_size=len(means)))
    )
)
def test_pooling_equals_one_row_after_another(given_rows: tuple[list[float], list[int]]):
    blocks: list[list[float]] = []
    for mean, weight in zip(*given_rows, strict=True):
        blocks.append([mean, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean_2, weight_2, size_2 = blocks.pop()
            mean_1, weight_1, size_1 = blocks.pop()
            total = weight_1 + weight_2
            blocks.append([(mean_1 * weight_1 + mean_2 * weight_2) / total, total, size_1 + size_2])
    expected = np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])
    starts, means = pool_adjacent_violators(*(np.array(column, dtype=float) for column in given_rows))
    fitted = np.repeat(means, np.diff(np.r_[starts, len(expected)]))
    np.testing.assert_allclose(fitted, expected, atol=1e-9)


def test_by_hand():
    state = Isotonic().fit(np.array([0.1, 0.2, 0.3, 0.4, 0.6]), np.array([0.0, 1, 0, 0, 1]))
    assert state["prediction"].to_list() == pytest.approx([0.1, 0.2, 0.4, 0.6])
    assert state["calibrated"].to_list() == pytest.approx([0, 1 / 3, 1 / 3, 1])
    calibrated = Isotonic().apply(torch.tensor([0.0, 0.15, 0.2, 0.33, 0.5, 0.9]).double(), state)
    assert calibrated.tolist() == pytest.approx([0, 1 / 6, 1 / 3, 1 / 3, 2 / 3, 1])


def test_nothing_leaves_its_bounds():
    calibrator = Isotonic(lowest=0.01, highest=0.8)
    state = calibrator.fit(np.linspace(0, 1, 50), (np.linspace(0, 1, 50) > 0.5).astype(float))
    calibrated = calibrator.apply(torch.linspace(0, 1, 101).double(), state)
    assert (calibrated.min().item(), calibrated.max().item()) == (0.01, 0.8)


def test_a_long_cascade_of_pools_is_quick():
    count = 1500
    mean = np.r_[np.arange(count, dtype=float), -(10.0**9)]
    starts, _ = pool_adjacent_violators(mean, np.ones(count + 1))
    assert starts.tolist() == [0]
