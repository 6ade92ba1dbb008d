"""Listwise: its loss against a loop over lists, and what it keeps."""

import math

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec import Listwise, UserError

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([None, 0.0, 1.0, 3.0]), st.floats(-5, 5)),
    min_size=1,
    max_size=25,
)
TASK = Listwise(name="bought", label="bought")
SCALE = 1.5
STATE = pl.DataFrame({"scale": [SCALE]})


def read(rows: list[tuple]) -> tuple[Tensor, Tensor]:
    """Return raw outputs and targets of rows of group, label and score."""
    group, label, score = zip(*rows, strict=True)
    labels = pl.DataFrame({"label": label, "group": group}, {"label": pl.Float64, "group": pl.String}).to_struct()
    return torch.tensor(score, dtype=torch.float64), TASK.targets(labels, STATE)


def loop(rows: list[tuple]) -> list[float]:
    """Return each row's loss, NaN where it has none."""
    found = []
    for group, label, score in rows:
        own = [s for g, y, s in rows if g == group and None not in (g, y, label)]
        total = sum(math.exp(other) for other in own)
        found.append(-label / SCALE * math.log(math.exp(score) / total) if len(own) > 1 and label > 0 else math.nan)
    return found


class TestLoss:
    @settings(max_examples=100)
    @given(rows=ROWS)
    def test_equals_a_loop_over_lists(self, rows: list[tuple]):
        raw, target = read(rows)
        expected = torch.tensor(loop(rows), dtype=torch.float64)
        counts = TASK.counts(target)
        assert torch.equal(counts, ~expected.isnan())
        torch.testing.assert_close(TASK.loss(raw, target)[counts], expected[counts])

    @settings(max_examples=50)
    @given(rows=ROWS, shifts=st.fixed_dictionaries({group: st.floats(-9, 9) for group in ("a", "b", "c", None)}))
    def test_ignores_a_constant_on_a_whole_list(self, rows: list[tuple], shifts: dict):
        raw, target = read(rows)
        shifted, _ = read([(group, label, score + shifts[group]) for group, label, score in rows])
        counts = TASK.counts(target)
        torch.testing.assert_close(TASK.loss(shifted, target)[counts], TASK.loss(raw, target)[counts])

    @settings(max_examples=50)
    @given(gains=st.lists(st.floats(0.1, 5), min_size=2, max_size=9))
    def test_is_least_where_the_softmax_is_the_share_of_the_gain(self, gains: list[float]):
        raw, target = read([("a", gain, math.log(gain)) for gain in gains])
        raw.requires_grad_()
        TASK.loss(raw, target).sum().backward()
        torch.testing.assert_close(raw.grad, torch.zeros_like(raw), atol=1e-9, rtol=0)

    def test_is_finite_for_scores_far_apart(self):
        raw, target = read([("a", 1.0, -2000.0), ("a", 0.0, 2000.0)])
        assert TASK.loss(raw, target).tolist() == [pytest.approx(4000 / SCALE), 0]

    def test_leaves_rows_drawn_as_negatives_alone(self):
        raw, target = read([("a", 1.0, 0.0), ("a", 0.0, 1.0), ("a", 0.0, 3.0)])
        mixed = torch.cat([target[:2], TASK.as_negatives(target[2:])])
        torch.testing.assert_close(TASK.loss(raw, mixed)[:2], TASK.loss(raw[:2], target[:2]))


def test_pinned_values():
    raw, target = read([("a", 3.0, math.log(3)), ("a", 0.0, 0.0), ("b", 1.0, 2.0), ("a", 1.5, 0.0)])
    expected = torch.tensor([-2 * math.log(3 / 5), 0, 0, math.log(5)], dtype=torch.float64)
    torch.testing.assert_close(TASK.loss(raw, target), expected)


def test_learns_the_mean_gain_and_tells_the_truth_in_the_labels_units():
    labels = pl.DataFrame({"label": [0, 1, 4, None], "group": [1, 1, 2, 2]}).to_struct()
    state = TASK.fit(labels)
    assert state["scale"].to_list() == [2.5]
    target = TASK.targets(labels, state)
    assert TASK.truth(target, state).tolist() == [0, 1, 4, 0]
    assert TASK.observed(labels, state).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"label": [1, -1], "group": [1, 1]}, r"also -1\.0"),
        ({"label": [1, 0], "group": [1, 2]}, "none"),
        ({"label": [0, 0], "group": [1, 1]}, "none"),
        ({"label": ["low", "high"], "group": [1, 1]}, "the type String"),
    ],
)
def test_other_labels_are_refused_by_name(labels: dict, found: str):
    with pytest.raises(UserError, match=f"label 'bought' of the task 'bought': .*found {found}"):
        TASK.fit(pl.DataFrame(labels).to_struct())
