"""Count: Poisson regression against scikit-learn and scipy."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance

from polyrec import UserError
from polyrec.tasks.count import Count

TASK = Count(name="plays", label="plays", tower=())
COUNTS = st.integers(0, 10**6)


def test_loss_is_half_the_deviance_by_hand():
    loss = TASK.loss(torch.tensor([0.0, math.log(2), math.log(3)]), torch.tensor([0.0, 4.0, 3.0]))
    torch.testing.assert_close(loss, torch.tensor([1.0, 4 * math.log(2) - 2, 0.0]))


def test_loss_is_half_the_deviance_of_scikit_learn():
    raw = torch.randn(50, generator=torch.Generator().manual_seed(0))
    counts = torch.arange(50) % 7
    expected = mean_poisson_deviance(counts, raw.exp()) / 2
    assert TASK.loss(raw, counts.float()).mean().item() == pytest.approx(expected, rel=1e-5)


@settings(max_examples=100)
@given(COUNTS, st.floats(-5, 5, width=32))
def test_loss_is_the_likelihood_that_a_perfect_prediction_leaves(count: int, off: float):
    raw = math.log(max(count, 1)) + off
    perfect = stats.poisson.logpmf(count, count)
    expected = perfect - stats.poisson.logpmf(count, math.exp(raw))
    found = TASK.loss(torch.tensor([raw], dtype=torch.float64), torch.tensor([float(count)], dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(max_examples=100)
@given(COUNTS, st.floats(-1e4, 1e4, width=32))
def test_loss_is_nowhere_below_zero_and_finite_far_off(count: int, raw: float):
    own = torch.tensor([raw], requires_grad=True)
    loss = TASK.loss(own, torch.tensor([float(count)]))
    loss.backward()
    assert loss.item() >= 0
    assert torch.isfinite(loss).all() and torch.isfinite(own.grad).all()


@given(COUNTS.filter(bool))
def test_loss_is_zero_where_the_prediction_is_the_count(count: int):
    raw = torch.log(torch.tensor([float(count)]))
    assert TASK.loss(raw, torch.tensor([float(count)])).item() == 0
    assert TASK.predict(raw, pl.DataFrame()).item() == pytest.approx(count, rel=1e-5)


def test_loss_still_rises_where_the_rate_no_longer_does():
    losses = TASK.loss(torch.tensor([29.0, 31.0, 60.0, 2000.0]), torch.full((4,), 5.0))
    assert (losses.diff() > 0).all()


def test_constant_predicts_the_mean():
    assert TASK.predict(TASK.constant(torch.tensor([0.0, 1.0, 5.0])), pl.DataFrame()).item() == pytest.approx(2.0)


def test_a_head_that_sees_nothing_starts_at_the_mean():
    state = TASK.fit(pl.Series([0, 10, 200]))
    predictions = TASK.predict(TASK.build(4, state)(torch.zeros(2, 4)), state)
    torch.testing.assert_close(predictions, torch.full((2,), 70.0))


@pytest.mark.parametrize("labels", [pl.Series([0, -1]), pl.Series([0.0, 1.5])])
def test_other_numbers_are_refused(labels: pl.Series):
    with pytest.raises(UserError, match="label 'plays' of the task 'plays': expected whole numbers from 0, found also"):
        TASK.fit(labels)


def test_a_trained_head_finds_the_coefficients_of_scikit_learn():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 2))
    labels = pl.Series(generator.poisson(np.exp(1 + x @ [0.5, -0.3])))
    expected = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000).fit(x, labels.to_numpy())
    state = TASK.fit(labels)
    head, inputs, targets = TASK.build(2, state), torch.from_numpy(x).float(), TASK.targets(labels, state)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = TASK.loss(head(inputs), targets).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert head.last.weight[0].tolist() == pytest.approx(expected.coef_, abs=1e-3)
    assert head.last.bias.item() == pytest.approx(expected.intercept_, abs=1e-3)
