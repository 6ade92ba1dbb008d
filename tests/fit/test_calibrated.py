"""A recommender with calibrators: what it predicts means what it says, wherever it is asked."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import polyrec
from polyrec import Fitted, Isotonic, Multiclass, Platt, RandomSplit, Recommender, Temperature, Training
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed


@pytest.fixture(scope="module")
def hasty(small: Recommender) -> Recommender:
    """A recommender that becomes far too sure: many steps on few rows, and the epoch chosen by the order of its predictions."""
    tasks = (*small.tasks, Multiclass(name="grade", label="rating", tower=(8,)))
    split = RandomSplit(fraction=0.4)
    training = Training(epochs=15, batch_size=256, learning_rate=0.03, patience=None, utility={"like.auc": 1}, split=split)
    return small.replace(user=small.user[:2], tasks=tasks, training=training)


@pytest.fixture(scope="module")
def plain(hasty: Recommender, split) -> Fitted:
    return hasty.fit(split[0][:2500], progress=False)


@pytest.fixture(scope="module")
def mended(hasty: Recommender, split) -> Fitted:
    calibration = {"like": Platt(), "grade": Temperature(), "interest": Temperature()}
    return hasty.replace(calibration=calibration).fit(split[0][:2500], progress=False)


def like(fitted: Fitted, frame: pl.DataFrame) -> Observed:
    return Observed(fitted.predict(frame)["like"].to_numpy(), (frame["rating"] >= 4).to_numpy().astype(float))


def test_weights_are_those_without_calibration(plain: Fitted, mended: Fitted):
    assert all(torch.equal(value, mended.parts.weights[name]) for name, value in plain.parts.weights.items())


def test_the_error_is_smaller_on_rows_never_used(plain: Fitted, mended: Fitted, split):
    before, after = (METRICS["log_loss"](like(fitted, split[1])) for fitted in (plain, mended))
    assert after < before
    facts = mended.parts.facts.calibration
    assert set(facts) == {"like", "grade", "interest"}


@pytest.mark.parametrize("calibrator", [Platt(), Temperature()])
def test_ranks_are_unchanged(hasty: Recommender, split, plain: Fitted, calibrator):
    fitted = hasty.replace(calibration={"like": calibrator}).fit(split[0][:2500], progress=False)
    before, after = like(plain, split[1]), like(fitted, split[1])
    assert (np.diff(after.prediction[np.argsort(before.prediction, kind="stable")]) >= 0).all()
    assert METRICS["auc"](after) == pytest.approx(METRICS["auc"](before), abs=1e-4)
    assert not np.allclose(after.prediction, before.prediction, atol=1e-3)


def test_saved_and_loaded_answers_are_the_same_bit_for_bit(mended: Fitted, split, tmp_path: Path):
    loaded = polyrec.load(mended.save(tmp_path / "artifact"))
    assert {path.name for path in (tmp_path / "artifact" / "state" / "calibration").iterdir()} == {
        "like.parquet",
        "grade.parquet",
        "interest.parquet",
    }
    assert loaded.spec == mended.spec
    assert loaded.predict(split[1]).equals(mended.predict(split[1]))
    assert loaded.recommend(user_id=101).equals(mended.recommend(user_id=101))
    assert loaded.score(101, [5, 12]).tolist() == mended.score(101, [5, 12]).tolist()
    again = loaded.save(tmp_path / "again")
    for path in (tmp_path / "artifact").rglob("*.parquet"):
        assert path.read_bytes() == (again / path.relative_to(tmp_path / "artifact")).read_bytes()


def test_recommendations_and_scores_are_made_of_calibrated_predictions(mended: Fitted):
    top = mended.recommend(user_id=101, k=5)
    fused = top["like"].cast(pl.Float64) * top["stars"].cast(pl.Float64).sqrt()
    assert top["score"].to_list() == pytest.approx(fused.to_list(), rel=1e-9)
    assert mended.score(101, top["item_id"]).tolist() == pytest.approx(top["score"].to_list(), rel=1e-5)


def test_the_card_tells_what_calibration_changed(plain: Fitted, mended: Fitted):
    assert "## Calibration" in mended.parts.card
    assert "| like | Platt |" in mended.parts.card
    assert "## Calibration" not in plain.parts.card


def test_a_refitted_model_keeps_the_calibrators_of_the_one_that_had_not_seen_the_rows(hasty: Recommender, split):
    spec = hasty.replace(calibration={"like": Isotonic()}, training=hasty.training.replace(epochs=3))
    first = spec.fit(split[0][:2500], progress=False)
    again = spec.replace(training=spec.training.replace(refit=True)).fit(split[0][:2500], progress=False)
    assert again.parts.calibration_states["like"].equals(first.parts.calibration_states["like"])
    assert not all(torch.equal(value, again.parts.weights[name]) for name, value in first.parts.weights.items())


def test_a_calibrator_for_a_task_that_predicts_no_probability_is_refused(small: Recommender):
    with pytest.raises(ValueError, match="calibration of 'stars': a Regression task predicts no probability"):
        small.replace(calibration={"stars": Platt()})
