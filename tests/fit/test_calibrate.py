"""Calibrating tasks on held-out predictions: honest figures, clear refusals."""

import json

import numpy as np
import pytest
import torch

from polyrec import Binary, Multiclass, Multilabel, Regression, UserError
from polyrec.calibration.calibrator import calibrated
from polyrec.calibration.isotonic import Isotonic
from polyrec.calibration.platt import Platt
from polyrec.calibration.temperature import Temperature
from polyrec.declaration.checks import check_calibration
from polyrec.evaluate.metrics.reliability import calibration_error
from polyrec.fit.calibrate import _halves, calibrate

TASKS = (
    Binary(name="like", label="rating >= 4"),
    Regression(name="stars", label="rating"),
    Multiclass(name="grade", label="rating"),
    Multilabel(name="interest", label="genres"),
)


def held_out(rows: int = 2000, seed: int = 0) -> tuple[dict, dict]:
    """Return predictions that are too sure of themselves and truths, every fifth of which was not observed."""
    generator = np.random.default_rng(seed)
    logit, many = generator.normal(size=rows), generator.normal(size=(rows, 3))
    mask = np.arange(rows) % 5 > 0
    predictions = {
        "like": torch.sigmoid(torch.from_numpy(3 * logit)).float(),
        "stars": torch.from_numpy(3 + logit).float(),
        "grade": torch.softmax(torch.from_numpy(3 * many), 1).float(),
        "interest": torch.sigmoid(torch.from_numpy(3 * many)).float(),
    }
    truths = {
        "like": (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32),
        "stars": np.full(rows, 3.0),
        "grade": (many + generator.gumbel(size=many.shape)).argmax(1),
        "interest": (generator.random(many.shape) < 1 / (1 + np.exp(-many))).astype(np.float32),
    }
    return predictions, {name: (mask, truth[mask]) for name, truth in truths.items()}


@pytest.mark.parametrize("calibrator", [Platt(), Isotonic(), Temperature()])
def test_the_error_falls_on_rows_never_used(calibrator):
    states, facts = calibrate(TASKS, {"like": calibrator}, *held_out(), seed=0)
    predictions, truths = held_out(seed=1)
    mask, target = truths["like"]
    after = calibrated({"like": calibrator}, states, predictions)["like"].numpy()[mask]
    before = predictions["like"].numpy()[mask]
    assert calibration_error(after, target) < calibration_error(before, target) / 3
    assert facts["like"].ece_after < facts["like"].ece_before / 3


def test_classes_and_labels_are_calibrated_too():
    calibration = {"grade": Temperature(), "interest": Temperature()}
    states, facts = calibrate(TASKS, calibration, *held_out(), seed=0)
    assert list(states) == list(facts) == ["grade", "interest"]
    for name, state in states.items():
        assert state["temperature"][0] == pytest.approx(3, rel=0.15)
        assert facts[name].ece_after < facts[name].ece_before / 3


def test_other_tasks_are_left_as_they_are():
    predictions, truths = held_out()
    states, _ = calibrate(TASKS, {"like": Platt()}, predictions, truths, seed=0)
    told = calibrated({"like": Platt()}, states, predictions)
    assert list(told) == list(predictions)
    assert all(told[name] is predictions[name] for name in ("stars", "grade", "interest"))
    assert not torch.equal(told["like"], predictions["like"])


def test_what_is_told_is_json_and_holds_the_curves():
    predictions, truths = held_out()
    _, facts = calibrate(TASKS, {"like": Isotonic()}, predictions, truths, seed=0)
    own = json.loads(json.dumps(facts, allow_nan=False))["like"]
    assert own["kind"] == "Isotonic"
    assert own.rows == 1600 == sum(own.reliability_before["count"]) == sum(own.reliability_after["count"])


def test_the_figures_after_are_not_flattered_by_a_map_that_learns_the_rows_by_heart():
    generator = np.random.default_rng(0)
    prediction = {"like": torch.from_numpy(generator.random(400)).float()}
    target = (generator.random(400) < 0.5).astype(np.float32)
    states, facts = calibrate(TASKS, {"like": Isotonic()}, prediction, {"like": (np.ones(400, bool), target)}, seed=0)
    own = calibrated({"like": Isotonic()}, states, prediction)["like"].numpy()
    assert calibration_error(own, target) < 0.01 < facts["like"].ece_after


def test_halves_hold_as_many_rows_of_each_outcome():
    target = np.array([0.0] * 31 + [1.0] * 11)
    half = _halves(target, seed=0)
    assert half.sum() == 21
    assert half[target == 1].sum() in (5, 6)
    assert not np.array_equal(half, _halves(target, seed=1))
    assert np.array_equal(half, _halves(target, seed=0))


@pytest.mark.parametrize(
    ("ones", "zeros", "found"), [(0, 500, "500 of one outcome"), (9, 500, "500 and 9"), (500, 3, "500 and 3")]
)
def test_too_few_rows_of_an_outcome_are_refused(ones: int, zeros: int, found: str):
    target = np.array([1.0] * ones + [0.0] * zeros)
    truths = {"like": (np.ones(len(target), bool), target)}
    with pytest.raises(UserError, match=f"calibration of the task 'like': expected 10 validation rows or more.*{found}"):
        calibrate(TASKS, {"like": Platt()}, {"like": torch.full((len(target),), 0.5)}, truths, seed=0)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"likes": Platt()}, "calibration of 'likes', which is no task. Did you mean 'like'"),
        ({"stars": Platt()}, "calibration of 'stars': a Regression task predicts no probability"),
        ({"grade": Isotonic()}, "calibration of 'grade': Isotonic is for one probability a row"),
        ({"interest": Platt()}, "calibration of 'interest': Platt is for one probability a row"),
    ],
)
def test_a_calibrator_must_fit_its_task(calibration, message: str):
    with pytest.raises(ValueError, match=message):
        check_calibration(calibration, TASKS)


def test_what_fits_is_accepted():
    calibration = {"like": Isotonic(), "grade": Temperature(), "interest": Temperature()}
    check_calibration(calibration, TASKS)
    states, facts = calibrate(TASKS, calibration, *held_out(), seed=0)
    assert {name: own["kind"] for name, own in facts.items()} == {
        "like": "Isotonic",
        "grade": "Temperature",
        "interest": "Temperature",
    }
    told = calibrated(calibration, states, held_out()[0])
    assert all(((told[name] >= 0) & (told[name] <= 1)).all() for name in calibration)
