"""An evaluation as text and as JSON."""

import json
import math

from polyrec.evaluate.evaluation import Evaluation, Slice


def test_json_has_no_nan():
    document = Evaluation({"like": {"auc": math.nan}}, {"ndcg@10": 0.5}, 3, {"like": 0}).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == {
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


def test_text_of_the_data_is_shown_as_it_is():
    values = ("[/b]", "[red]", ":smile:", "[bold]x[/bold]")
    for value in values:
        metrics = {value: {"auc": 0.75}}
        evaluation = Evaluation(metrics, {}, 3, {value: 2}, slices={value: (Slice(value, 2, metrics),)})
        assert str(evaluation).count(value) == 4


def test_json_holds_intervals_and_slices_only_where_asked_for():
    bare = Evaluation({"like": {"auc": 0.75}}, {}, 3, {"like": 2}).to_dict()
    assert not {"intervals", "slices"} & set(bare)
    full = Evaluation(
        {"like": {"auc": 0.75}},
        {},
        3,
        {"like": 2},
        {"like": {"auc": (math.nan, math.inf)}},
        {"city": (Slice("Ulm", 2, {"like": {"auc": math.nan}}),)},
    ).to_dict()
    document = json.loads(json.dumps(full, allow_nan=False))
    assert document["intervals"] == {"like": {"auc": [None, None]}}
    assert document["slices"] == {"city": [{"value": "Ulm", "rows": 2, "tasks": {"like": {"auc": None}}}]}
