"""Quantile: the pinball loss against scikit-learn, and that quantiles never cross."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from sklearn.metrics import mean_pinball_loss

from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.tasks.quantile import Quantile

TASK = Quantile(name="seconds", label="seconds", tower=())
LABELS = pl.Series([0.0, 10.0, 20.0, 30.0, 40.0])
STATE = TASK.fit(LABELS)


def test_loss_by_hand():
    raw = torch.tensor([[-1.0, -100.0, -100.0]])  # All three quantiles are -1.
    loss = TASK.loss(raw.expand(2, 3), torch.tensor([0.0, -3.0]))
    torch.testing.assert_close(loss, torch.tensor([(0.1 + 0.5 + 0.9) / 3, 2 * (0.9 + 0.5 + 0.1) / 3]))


def test_loss_is_that_of_scikit_learn_in_units_of_the_deviation():
    raw = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(0))
    predicted = TASK.predict(raw, STATE).numpy()
    expected = np.mean([mean_pinball_loss(LABELS, predicted[:, q], alpha=level) for q, level in enumerate(TASK.levels)])
    loss = TASK.loss(raw, TASK.targets(LABELS, STATE)).mean().item()
    assert loss == pytest.approx(expected / LABELS.std(ddof=0), rel=1e-5)
    truth = TASK.truth(TASK.targets(LABELS, STATE), STATE).numpy()
    assert METRICS["pinball"](Observed(predicted, truth, levels=TASK.levels)) == pytest.approx(expected, rel=1e-5)


def test_constant_predicts_quantiles_of_the_labels():
    predicted = TASK.predict(TASK.constant(TASK.targets(LABELS, STATE)), STATE)
    torch.testing.assert_close(predicted, torch.tensor([[0.0, 20.0, 40.0]]), atol=1e-4, rtol=0)


@settings(max_examples=100)
@given(st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_quantiles_never_cross_whatever_the_raw_output(raw):
    assert (TASK.predict(torch.tensor(raw), STATE).diff(dim=1) >= 0).all()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_quantiles_never_cross_in_a_trained_head(seed: int):
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = torch.randn(50, 3, generator=generator), torch.randn(50, generator=generator)
    head = TASK.build(3, STATE)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        TASK.loss(head(inputs), labels).mean().backward()
        optimizer.step()
    unseen = 100 * torch.randn(200, 3, generator=generator)
    assert (TASK.predict(head(unseen), STATE).diff(dim=1) >= 0).all()


def test_a_trained_head_is_calibrated_where_the_spread_depends_on_the_row():
    generator = np.random.default_rng(0)
    side = generator.integers(0, 2, 2000)
    labels = pl.Series(generator.normal(5, np.where(side, 4, 1)))
    state = TASK.fit(labels)
    head, inputs = TASK.build(2, state), torch.from_numpy(np.eye(2)[side]).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        TASK.loss(head(inputs), TASK.targets(labels, state)).mean().backward()
        optimizer.step()
    predicted = TASK.predict(head(torch.eye(2)), state).detach().numpy()
    expected = [stats.norm.ppf(TASK.levels, 5, deviation) for deviation in (1, 4)]
    np.testing.assert_allclose(predicted, expected, atol=0.35)
    rows = TASK.predict(head(inputs), state).detach().numpy()
    assert METRICS["coverage_gap"](Observed(rows, labels.to_numpy(), levels=TASK.levels)) < 0.02


def test_one_level_is_a_column_too():
    task = TASK.replace(quantiles=(0.5,))
    raw = task.build(2, STATE)(torch.zeros(4, 2))
    assert raw.shape == (4,)
    assert task.predict(raw, STATE).shape == (4, 1)
    assert task.loss(raw, torch.zeros(4)).shape == (4,)
    assert task.names(STATE) == ("seconds.0.5",)
    assert task.predict(task.constant(task.targets(LABELS, STATE)), STATE).tolist() == [[20.0]]


def test_columns_are_named_after_the_levels():
    assert TASK.names(STATE) == ("seconds.0.1", "seconds.0.5", "seconds.0.9")


@pytest.mark.parametrize("levels", [(0.5, 0.1), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (-0.1,)])
def test_levels_that_do_not_increase_between_0_and_1_are_refused(levels: tuple[float, ...]):
    with pytest.raises(ValidationError, match="increasing levels between 0 and 1"):
        Quantile(name="seconds", label="seconds", quantiles=levels)


def test_no_level_is_refused():
    with pytest.raises(ValidationError, match="quantiles"):
        Quantile(name="seconds", label="seconds", quantiles=())
