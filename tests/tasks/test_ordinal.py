"""Ordinal: proportional odds at values worked out by hand, and laws of any raw output."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from torch import Tensor

from polyrec import UserError
from polyrec.layers.increasing import increasing
from polyrec.tasks.ordinal import Ordinal

TASK = Ordinal(name="stars", label="rating", tower=())
STARS = pl.Series([1, 2, 2, 3, 5, 5, 5, 5])
STATE = TASK.fit(STARS)
RAW = st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=6)


def probabilities(raw_BC: Tensor) -> Tensor:
    """Return what the loss says of every grade, (B, K)."""
    grades = range(raw_BC.shape[1] + 1)
    return torch.stack([torch.exp(-TASK.loss(raw_BC, torch.full((len(raw_BC),), k))) for k in grades], 1)


def test_loss_is_that_of_cumulative_logits():
    thresholds, score = np.array([-1.0, 0.5, 2.0]), 0.7
    cumulative = np.concatenate([[0.0], special.expit(thresholds - score), [1.0]])
    raw = torch.tensor([[-1.0 - score, math.log(math.expm1(1.5)), math.log(math.expm1(1.5))]]).expand(4, 3)
    expected = torch.from_numpy(-np.log(np.diff(cumulative))).float()
    torch.testing.assert_close(TASK.loss(raw, torch.arange(4)), expected)


def test_prediction_is_the_expected_grade():
    raw = TASK.constant(TASK.targets(STARS, STATE)).expand(2, 3)
    torch.testing.assert_close(TASK.predict(raw, STATE), torch.full((2,), (1 + 2 * 2 + 3 + 4 * 5) / 8))
    torch.testing.assert_close(probabilities(raw)[0], torch.tensor([1 / 8, 2 / 8, 1 / 8, 4 / 8]))


def test_a_head_that_sees_nothing_starts_at_the_shares():
    head = TASK.build(6, STATE)
    torch.testing.assert_close(probabilities(head(torch.zeros(2, 6)))[1], torch.tensor([1 / 8, 2 / 8, 1 / 8, 4 / 8]))


@settings(max_examples=100)
@given(RAW)
def test_any_raw_output_has_thresholds_in_order_and_probabilities_that_sum_to_one(raw):
    raw_BC = torch.tensor([raw])
    assert (increasing(raw_BC).diff() >= 0).all()
    torch.testing.assert_close(probabilities(raw_BC).sum(1), torch.ones(1))


@settings(max_examples=100)
@given(RAW, st.integers(0, 6))
def test_loss_and_its_gradient_are_finite_far_off(raw, grade):
    raw_BC = torch.tensor([raw], requires_grad=True)
    loss = TASK.loss(raw_BC, torch.tensor([min(grade, len(raw))]))
    loss.sum().backward()
    assert (loss >= 0).all() and torch.isfinite(loss).all() and torch.isfinite(raw_BC.grad).all()


def test_all_rows_share_the_thresholds_and_a_higher_score_is_a_higher_grade():
    head = TASK.build(6, STATE)
    hidden = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    raw = head(hidden)
    assert (raw[:, 1:] == raw[:1, 1:]).all()
    order = (hidden @ head.last.weight[0]).argsort()
    assert (TASK.predict(raw, STATE)[order].diff() >= 0).all()


def test_two_grades_are_logistic_regression():
    labels = pl.Series([0.5, 4.0, 4.0])
    state = TASK.fit(labels)
    raw = torch.tensor([-1.0, 2.0, 0.3])
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(-raw, torch.tensor([0.0, 1.0, 1.0]), reduction="none")
    torch.testing.assert_close(TASK.loss(raw, TASK.targets(labels, state)), cross_entropy)
    torch.testing.assert_close(TASK.predict(raw, state), 0.5 + 3.5 * torch.sigmoid(-raw))
    assert TASK.build(6, state)(torch.zeros(5, 6)).shape == (5,)


def test_a_grade_first_met_later_is_not_observed():
    assert TASK.observed(pl.Series([1.0, 4.0, 2.5, None]), STATE).tolist() == [True, False, False, False]


def test_truth_is_the_grade():
    assert TASK.truth(TASK.targets(STARS, STATE), STATE).tolist() == STARS.to_list()


@pytest.mark.parametrize("labels", [pl.Series([3, 3]), pl.Series(range(51))], ids=["one grade", "51 grades"])
def test_too_few_or_many_grades_are_refused(labels: pl.Series):
    with pytest.raises(UserError, match="label 'rating' of the task 'stars': expected 2 to 50 different grades"):
        TASK.fit(labels)


def test_a_trained_head_finds_the_maximum_of_the_likelihood():
    """The coefficients and thresholds equal those of a general optimiser on the textbook likelihood."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 2))
    grade = np.digitize(x @ [1.0, -0.5] + generator.logistic(size=400), [-1.0, 0.0, 1.5])
    labels = pl.Series(grade)
    state = TASK.fit(labels)

    def textbook(flat: np.ndarray) -> float:
        edges = np.r_[-np.inf, flat[2], flat[2] + np.cumsum(np.exp(flat[3:])), np.inf]
        cumulative = special.expit(edges - (x @ flat[:2])[:, None])
        return -np.log(cumulative[np.arange(400), grade + 1] - cumulative[np.arange(400), grade]).mean()

    best = optimize.minimize(textbook, [0, 0, -1, 0, 0])
    head, inputs, targets = TASK.build(2, state), torch.from_numpy(x).float(), TASK.targets(labels, state)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = TASK.loss(head(inputs), targets).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert TASK.loss(head(inputs), targets).mean().item() == pytest.approx(best.fun, abs=1e-5)
    assert head.last.weight[0].tolist() == pytest.approx(best.x[:2], abs=0.01)
