"""An artifact that format 3 wrote, before the weights of derived features had one container, answers as it did then."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import polyrec
from polyrec.artifact.earlier_formats import with_present_names

BEFORE = Path(__file__).parent / "before"
"""A fit of a made-up table: a history, a graph, a joint of a text, a linked task, calibration, and what they predicted."""


@pytest.fixture(scope="module")
def fitted() -> polyrec.Fitted:
    return polyrec.load(BEFORE / "artifact")


def test_is_of_the_earlier_format():
    assert json.loads((BEFORE / "artifact" / "state" / "manifest.json").read_text())["format"] == 3


def test_it_predicts_what_it_predicted(fitted: polyrec.Fitted):
    predictions = fitted.predict(pl.read_parquet(BEFORE / "rows.parquet"))
    assert_frame_equal(predictions, pl.read_parquet(BEFORE / "predictions.parquet"), rel_tol=1e-5, abs_tol=1e-6)


def test_it_makes_the_list_that_it_made(fitted: polyrec.Fitted):
    before = json.loads((BEFORE / "list.json").read_text())
    top = fitted.recommend(before["k"], user=before["user_id"])
    assert top[fitted.item_key].to_list() == before["items"]
    assert top["score"].to_list() == pytest.approx(before["scores"], rel=1e-4, abs=1e-6)


def test_its_facts_are_read(fitted: polyrec.Fitted):
    facts = fitted.parts.facts
    assert facts.data.roles.user == "user_id"
    assert facts.data.training_rows == 774
    assert facts.calibration["click"].kind == "Isotonic"
    assert facts.training.validation == facts.training.curves[facts.training.best_epoch - 1]


def test_saved_again_it_is_of_the_present_format(fitted: polyrec.Fitted, tmp_path: Path):
    again = polyrec.load(fitted.save(tmp_path / "again"))
    rows = pl.read_parquet(BEFORE / "rows.parquet")
    assert_frame_equal(again.predict(rows), fitted.predict(rows), check_exact=True)
    assert again.parts.facts == fitted.parts.facts


def test_another_format_is_refused(tmp_path: Path):
    folder = tmp_path / "artifact"
    shutil.copytree(BEFORE / "artifact", folder)
    manifest = folder / "state" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 3', '"format": 2'))
    with pytest.raises(polyrec.UserError, match="expected format 3 or format 4, found format 2"):
        polyrec.load(folder)


def test_names_of_weights_change_within_a_copy_of_the_features_alone():
    named = {"copies.0.poolings.of_a.x": 1, "copies.1.graphs.of_b.y": 2, "copies.0.joints.of_c.z": 3, "heads.of_poolings.w": 4}
    renamed = with_present_names({name: torch.tensor(value) for name, value in named.items()})
    assert {name: int(value) for name, value in renamed.items()} == {
        "copies.0.derived.of_a.x": 1,
        "copies.1.derived.of_b.y": 2,
        "copies.0.derived.of_c.z": 3,
        "heads.of_poolings.w": 4,
    }
