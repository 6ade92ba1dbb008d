"""Pairwise: its loss against a loop over pairs, and what it keeps."""

import math

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec import Pairwise, UserError

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([None, 0.0, 1.0, 2.5]), st.floats(-5, 5)),
    min_size=1,
    max_size=25,
)
LOGISTIC = Pairwise(name="preferred", label="rating")
HINGE = Pairwise(name="preferred", label="rating", pair_loss="hinge", margin=0.7)


def read(rows: list[tuple]) -> tuple[Tensor, Tensor]:
    """Return raw outputs and targets of rows of group, label and score."""
    group, label, score = zip(*rows, strict=True)
    labels = pl.DataFrame({"label": label, "group": group}, {"label": pl.Float64, "group": pl.String}).to_struct()
    return torch.tensor(score, dtype=torch.float64), LOGISTIC.targets(labels, pl.DataFrame())


def loop(rows: list[tuple], task: Pairwise) -> list[float]:
    """Return each row's mean loss over the pairs that it wins, NaN where there is none."""
    found = []
    for group, label, score in rows:
        lower = [s for g, y, s in rows if g == group and None not in (g, y, label) and y < label]
        if task.pair_loss == "logistic":
            losses = [math.log1p(math.exp(-(score - other))) for other in lower]
        else:
            losses = [max(0.0, task.margin - (score - other)) for other in lower]
        found.append(sum(losses) / len(losses) if losses else math.nan)
    return found


@pytest.mark.parametrize("task", [LOGISTIC, HINGE], ids=["logistic", "hinge"])
class TestLoss:
    @settings(max_examples=100)
    @given(rows=ROWS)
    def test_equals_a_loop_over_pairs(self, task: Pairwise, rows: list[tuple]):
        raw, target = read(rows)
        expected = torch.tensor(loop(rows, task), dtype=torch.float64)
        counts = task.counts(target)
        assert torch.equal(counts, ~expected.isnan())
        torch.testing.assert_close(task.loss(raw, target), expected.nan_to_num(0.0))

    @settings(max_examples=50)
    @given(rows=ROWS, shifts=st.fixed_dictionaries({group: st.floats(-9, 9) for group in ("a", "b", "c", None)}))
    def test_ignores_a_constant_on_a_whole_group(self, task: Pairwise, rows: list[tuple], shifts: dict):
        raw, target = read(rows)
        shifted, _ = read([(group, label, score + shifts[group]) for group, label, score in rows])
        torch.testing.assert_close(task.loss(shifted, target), task.loss(raw, target))

    @settings(max_examples=50)
    @given(rows=ROWS)
    def test_sees_only_the_order_of_labels(self, task: Pairwise, rows: list[tuple]):
        raw, target = read(rows)
        _, cubed = read([(group, None if label is None else label**3 - 4, score) for group, label, score in rows])
        torch.testing.assert_close(task.loss(raw, cubed), task.loss(raw, target))

    def test_leaves_rows_drawn_as_negatives_alone(self, task: Pairwise):
        raw, target = read([("a", 1.0, 0.0), ("a", 0.0, 1.0), ("a", 0.0, 3.0)])
        mixed = torch.cat([target[:2], task.as_negatives(target[2:])])
        torch.testing.assert_close(task.loss(raw, mixed)[:2], task.loss(raw[:2], target[:2]))


def test_pinned_values():
    raw, target = read([("a", 2.0, 1.0), ("a", 1.0, 0.0), ("a", 0.0, 2.0), ("b", 2.0, 0.0)])
    first = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    expected = torch.tensor([first, math.log1p(math.exp(2)), 0, 0], dtype=torch.float64)
    torch.testing.assert_close(LOGISTIC.loss(raw, target), expected)
    torch.testing.assert_close(HINGE.loss(raw, target), torch.tensor([0.85, 2.7, 0, 0], dtype=torch.float64))


def test_prediction_is_the_probability_of_being_preferred_to_a_row_of_score_zero():
    raw = torch.tensor([0.0, math.log(3)])
    torch.testing.assert_close(LOGISTIC.predict(raw, pl.DataFrame()), torch.tensor([0.5, 0.75]))


def test_groups_of_one_label_are_refused_and_others_counted():
    labels = pl.DataFrame({"label": [1, 1, 2, 3, None], "group": [1, 1, 2, None, 2]}).to_struct()
    with pytest.raises(UserError, match="two labels or more within a group of 'user_id', found one label .* of 2 groups"):
        LOGISTIC.fit(labels)
    labels = pl.DataFrame({"label": [1, 2, 2], "group": [1, 1, 2]}).to_struct()
    assert LOGISTIC.fit(labels)["groups"].to_list() == [1]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"label": ["low", "high"], "group": [1, 1]}, "the type String"),
        ({"label": [1.0, math.inf], "group": [1, 1]}, "NaN or infinity in 1 rows"),
        ({"label": [1, 2], "group": [[1], [1]]}, r"the type List\(Int64\)"),
        ({"label": [1, 2], "user": [1, 1]}, "the type Struct"),
    ],
)
def test_other_labels_are_refused_by_name(labels: dict, found: str):
    with pytest.raises(UserError, match=f"label 'rating' of the task 'preferred': .*found {found}"):
        LOGISTIC.fit(pl.DataFrame(labels).to_struct())
