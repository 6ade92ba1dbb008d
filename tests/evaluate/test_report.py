"""What an evaluation tells people and programs."""

import json
import math

from polyrec.evaluate.report import Evaluation, Slice


def test_json_has_no_nan():
    told = Evaluation({"like": {"auc": math.nan}}, {"ndcg@10": 0.5}, 3, {"like": 0}).to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == {
        "tasks": {"like": {"auc": None}},
        "fusion": {"ndcg@10": 0.5},
        "rows": 3,
        "observed": {"like": 0},
    }


def test_text_holds_values_intervals_and_slices():
    evaluation = Evaluation(
        {"like": {"auc": 0.75}},
        {},
        3,
        {"like": 2},
        {"like": {"auc": (0.7, 0.8)}},
        {"city": (Slice("Ulm", 2, {"like": {"auc": 0.25}}),)},
    )
    text = str(evaluation)
    for part in ("like", "0.7500", "0.7000 to 0.8000", "Ulm", "0.2500"):
        assert part in text
