"""A comparison is read from report.json, written back unchanged, and printed."""

import dataclasses
import json
from pathlib import Path

import pytest

from polyrec.compare.comparison import Comparison
from polyrec.core.errors import UserError

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def document(name: str) -> dict:
    return json.loads((RESULTS / f"compare-{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def adult() -> Comparison:
    return Comparison.from_dict(document("adult"))


@pytest.mark.parametrize("name", ["adult", "movielens"])
def test_stored_results_are_read_and_written_back_unchanged(name: str):
    stored = document(name)
    assert json.dumps(Comparison.from_dict(stored).to_dict()) == json.dumps(stored)


def test_undefined_numbers_and_failed_contenders_are_written_back_unchanged():
    stored = document("adult")
    arm = next(entry for entry in stored["contenders"] if entry["role"] == "arm")
    arm["trials"][1] |= {"utility": None, "error": "diverged"}
    arm["gradients"]["cosine"]["income|long_hours"][0] = None
    figure = arm["figures"]["income"]["auc"]
    figure |= {
        "deviation": None,
        "low": None,
        "high": None,
        "p": None,
        "seed_error": None,
        "degrees": None,
        "gain_percent": None,
    }
    failed = {"error": "no trial has a utility", "chosen": None, "seeds": [], "figures": {}, "gradients": None, "gates": None}
    stored["contenders"][-1] |= failed | {"cost": dict.fromkeys(("parameters", "cpu_seconds", "peak_bytes"))}
    comparison = Comparison.from_dict(stored)
    assert json.dumps(comparison.to_dict()) == json.dumps(stored)
    assert f"{comparison.contenders[-1].name} failed: no trial has a utility" in str(comparison)


def test_another_format_is_refused():
    with pytest.raises(UserError, match="expected format 1, found 2"):
        Comparison.from_dict(document("adult") | {"format": 2})


def test_it_prints_a_table_for_each_headline_also_in_a_notebook(adult: Comparison):
    text = str(adult)
    for task, metric, _ in adult.headlines():
        assert f"{task}: {metric} ↑ on 9,768 test rows" in text
    (row,) = (line.split() for line in text.split("never_married")[0].splitlines() if "PEPNet" in line)
    assert row == ["PEPNet", "0.9270", "+0.0007", "[-0.0004,", "+0.0018]", "+0.07", "%", "unclear"]
    assert " ".join(text.split()).count(adult.summary()) == 1
    html = adult._repr_html_()
    assert html.startswith("<pre style=")
    assert "PEPNet" in html
    assert "font-weight: bold" in html


def test_fields_cannot_be_assigned(adult: Comparison):
    with pytest.raises(dataclasses.FrozenInstanceError):
        adult.tasks = {}  # type: ignore[misc]
