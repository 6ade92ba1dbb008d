"""Censored: the likelihood against scipy, and that what was cut short is recovered."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from polyrec import Regression, UserError
from polyrec.tasks.censored import Censored

NORMAL = Censored(name="seconds", label="seconds", limit="length", tower=())
LOGNORMAL = NORMAL.replace(distribution="lognormal")
PEAK = -math.log(0.01 * math.sqrt(2 * math.pi))
"""Logarithm of the highest density that the least scale allows."""


def labels_of(seen: object, limit: object) -> pl.Series:
    return pl.DataFrame({"label": seen, "limit": limit}, strict=False).to_struct()


def cut_normals(seed: int, rows: int = 4000) -> tuple[np.ndarray, pl.Series]:
    """Return normal lengths with mean 10 and deviation 3, and what is seen of them up to limits of 8 to 14."""
    generator = np.random.default_rng(seed)
    whole, limit = generator.normal(10, 3, rows), generator.uniform(8, 14, rows)
    return whole, labels_of(np.minimum(whole, limit), limit)


def test_reads_a_label_and_a_limit():
    assert NORMAL.expressions == {"label": "seconds", "limit": "length"}


def test_targets_are_what_was_seen_and_whether_it_was_cut():
    labels = labels_of([2.0, 8.0, 5.0, 9.0], [5.0, 8.0, None, 6.0])
    state = NORMAL.fit(labels)
    truth = NORMAL.truth(NORMAL.targets(labels, state), state)
    torch.testing.assert_close(truth, torch.tensor([[2.0, 0.0], [8.0, 1.0], [5.0, 0.0], [6.0, 1.0]]))
    log_state = LOGNORMAL.fit(labels)
    torch.testing.assert_close(LOGNORMAL.truth(LOGNORMAL.targets(labels, log_state), log_state), truth)


@settings(max_examples=100)
@given(st.floats(-8, 8), st.floats(-8, 8), st.floats(-3, 3), st.booleans())
def test_loss_is_the_likelihood_of_scipy(seen: float, location: float, log_scale: float, is_cut: bool):
    normal = stats.norm(location, math.exp(log_scale) + 0.01)
    expected = -normal.logsf(seen) if is_cut else PEAK - normal.logpdf(seen)
    raw = torch.tensor([[location, log_scale]], dtype=torch.float64)
    loss = NORMAL.loss(raw, torch.tensor([[seen, float(is_cut)]], dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=100)
@given(st.floats(-5, 5, width=32), st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32), st.booleans())
def test_loss_is_nowhere_below_zero_and_finite_far_off(seen: float, location: float, log_scale: float, is_cut: bool):
    raw = torch.tensor([[location, log_scale]], requires_grad=True)
    loss = NORMAL.loss(raw, torch.tensor([[seen, float(is_cut)]]))
    loss.sum().backward()
    assert loss.item() >= -1e-5
    assert torch.isfinite(loss).all() and torch.isfinite(raw.grad).all()


@settings(max_examples=100)
@given(st.floats(-4, 1e5))
def test_a_row_that_was_cut_pulls_at_the_location_by_the_hazard(off: float):
    raw = torch.tensor([[-off, 0.0]], requires_grad=True)
    NORMAL.loss(raw, torch.tensor([[0.0, 1.0]])).sum().backward()
    normal = stats.norm(float(raw.detach()[0, 0]), 1.01)
    hazard = math.exp(normal.logpdf(0) - normal.logsf(0)) if off < 100 else off / 1.01**2
    assert raw.grad[0, 0].item() == pytest.approx(-hazard, rel=2e-3, abs=1e-6)


def test_constant_is_the_maximum_of_the_likelihood():
    _, labels = cut_normals(0)
    targets = NORMAL.targets(labels, NORMAL.fit(labels)).double().numpy()

    def textbook(flat: np.ndarray) -> float:
        normal = stats.norm(flat[0], np.exp(flat[1]))
        return -np.where(targets[:, 1] > 0, normal.logsf(targets[:, 0]), normal.logpdf(targets[:, 0])).mean()

    best = optimize.minimize(textbook, [0.0, 0.0]).x
    ((location, log_scale),) = NORMAL.constant(torch.from_numpy(targets)).tolist()
    assert (location, math.exp(log_scale) + 0.01) == pytest.approx((best[0], math.exp(best[1])), abs=1e-4)


@pytest.mark.parametrize("is_cut", [0.0, 1.0])
def test_constant_is_finite_where_all_rows_are_alike(is_cut: float):
    targets = torch.tensor([[0.7, is_cut]]).expand(5, 2)
    constant = NORMAL.constant(targets)
    assert torch.isfinite(constant).all()
    assert NORMAL.loss(constant.expand(5, 2), targets).mean() < 0.1


def test_recovers_the_mean_that_regression_underestimates():
    whole, labels = cut_normals(1)
    state = NORMAL.fit(labels)
    recovered = NORMAL.predict(NORMAL.constant(NORMAL.targets(labels, state)), state).item()
    plain, seen = Regression(name="seconds", label="seconds"), labels.struct.field("label")
    plain_state = plain.fit(seen)
    underestimated = plain.predict(plain.constant(plain.targets(seen, plain_state)), plain_state).item()
    assert recovered == pytest.approx(whole.mean(), abs=0.15)
    assert underestimated < whole.mean() - 0.5


def test_recovers_the_mean_of_log_normal_lengths():
    generator = np.random.default_rng(2)
    whole, limit = generator.lognormal(1.0, 0.8, 8000), generator.uniform(2, 8, 8000)
    labels = labels_of(np.minimum(whole, limit), limit)
    state = LOGNORMAL.fit(labels)
    recovered = LOGNORMAL.predict(LOGNORMAL.constant(LOGNORMAL.targets(labels, state)), state).item()
    assert recovered == pytest.approx(math.exp(1.0 + 0.8**2 / 2), rel=0.05)


def test_a_trained_head_recovers_the_effect_of_a_feature_that_limits_hide():
    generator = np.random.default_rng(3)
    x = generator.uniform(-1, 1, 3000)
    limit = generator.uniform(8, 14, 3000)
    labels = labels_of(np.minimum(10 + 4 * x + generator.normal(0, 2, 3000), limit), limit)
    state = NORMAL.fit(labels)
    head, inputs = NORMAL.build(1, state), torch.from_numpy(x[:, None]).float()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = NORMAL.loss(head(inputs), NORMAL.targets(labels, state)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    low, high = NORMAL.predict(head(torch.tensor([[-1.0], [1.0]])), state).tolist()
    least_squares = np.polyfit(x, labels.struct.field("label").to_numpy(), 1)[0]
    assert (high - low) / 2 == pytest.approx(4, abs=0.25)
    assert least_squares < 3.3


@settings(max_examples=100)
@given(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32))
def test_an_expected_log_normal_length_is_a_number_far_off(location: float, log_scale: float):
    state = pl.DataFrame({"mean": [3.0], "scale": [1.5]})
    expected = LOGNORMAL.predict(torch.tensor([[location, log_scale]]), state).item()
    assert 0 <= expected <= math.exp(3 + 15) * 1.001


def test_a_label_without_a_limit_is_refused():
    with pytest.raises(UserError, match="label 'seconds' of the task 'seconds': expected a label and a limit"):
        NORMAL.fit(pl.Series([1.0, 2.0]))


@pytest.mark.parametrize(("seen", "limit"), [([0.0, 2.0], [5.0, 5.0]), ([1.0, 2.0], [-1.0, 5.0])])
def test_no_logarithm_is_refused(seen: list[float], limit: list[float]):
    with pytest.raises(UserError, match="labels and limits above 0"):
        LOGNORMAL.fit(labels_of(seen, limit))


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(UserError, match="expected finite numbers as limits or null, found NaN or infinity in 1 rows"):
        NORMAL.fit(labels_of([1.0, 2.0], [math.nan, 3.0]))


def test_limits_that_are_all_null_cut_nothing():
    labels = labels_of([1.0, 2.0, 4.0], [None, None, None])
    assert NORMAL.targets(labels, NORMAL.fit(labels))[:, 1].tolist() == [0, 0, 0]
