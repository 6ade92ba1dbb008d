"""Resampled metrics are the metrics themselves; gates and gradients in figures by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec.compare.gradients import Gradients, gate_summary, gradient_summary
from polyrec.compare.resampling import draw_users, resample
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), ties=st.booleans())
@pytest.mark.parametrize("metric", ["auc", "gauc", "log_loss", "ece", "rmse", "mae", "micro_auc", "macro_auc"])
def test_resampling_gives_the_metric_of_the_weighted_rows(metric: str, seed: int, rows: int, ties: bool):
    generator = np.random.default_rng(seed)
    shape = (rows, 3) if metric in ("micro_auc", "macro_auc") else (rows,)
    prediction = generator.random(shape).round(1 if ties else 9)
    group = generator.integers(5, size=rows)
    observed = Observed(prediction, (generator.random(shape) < 0.4).astype(np.float32), group)
    draws = draw_users(group, rows, 6)
    expected = [METRICS[metric](observed.weighted(draw)) for draw in draws]
    assert resample(metric, observed, draws) == pytest.approx(expected, nan_ok=True)


def test_without_rows_there_is_no_metric():
    observed = Observed(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int))
    assert np.isnan(resample("auc", observed, draw_users(observed.group, 0, 3))).all()


def test_users_are_drawn_whole():
    group = np.array([3, 3, 1, 1, 2])
    draws = draw_users(group, 5, 50)
    assert (draws[:, 0] == draws[:, 1]).all()
    assert (draws[:, 2] == draws[:, 3]).all()
    assert draws.max() > 1


def test_predictions_that_are_no_numbers_have_no_metric():
    observed = Observed(np.array([0.1, math.nan]), np.array([0.0, 1.0]))
    assert np.isnan(resample("auc", observed, draw_users(None, 2, 3))).all()


def test_gradients_are_averaged_over_seeds_by_epoch():
    def entry(cosine: float, one: float) -> dict[str, float]:
        return {"a|b.cosine": cosine, "a.gradient_norm": one, "b.gradient_norm": 2.0, "a.loss": 9.0}

    gradients = gradient_summary([[entry(0.5, 4.0), entry(0.1, 1.0)], [entry(-0.5, 2.0)]])
    assert gradients == Gradients(cosine={"a|b": [0.0, 0.1]}, norm_ratio={"a|b": [1.5, 0.5]})


def test_trainings_that_were_not_probed_have_no_gradients():
    assert gradient_summary([[{"a.loss": 1.0}]]) is None


def test_gates_count_experts_by_entropy_and_the_dead_by_weight():
    gates = gate_summary([{"a": [0.5, 0.5, 0.0], "b": [1.0, 0.0, 0.0]}, {"a": [1.0, 0.0, 0.0], "b": [0.0, 0.0, 1.0]}])
    assert gates is not None
    assert gates.effective_experts == pytest.approx({"a": 1.5, "b": 1.0})
    assert gates.dead_experts == 1.0
    assert gates.weights["a"] == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("gates", [[], [{}]])
def test_networks_without_gates_have_none(gates: list[dict[str, list[float]]]):
    assert gate_summary(gates) is None
