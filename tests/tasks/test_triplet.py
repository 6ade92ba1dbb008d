"""Triplet: its loss against a loop over triplets, and what it keeps."""

import math
from collections.abc import Sequence

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from polyrec import Triplet, UserError

KINDS = ("semi_hard", "hard", "random")
TASKS = {kind: Triplet(name="fits", label="liked", negatives=kind, margin=0.3, width=2) for kind in KINDS}
TASK = TASKS["semi_hard"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from([True, False, None]),
        st.sampled_from(["ann", "bob", None]),
        st.sampled_from([1, 2, 3, None]),
        st.floats(0, 6.2),
        st.floats(0, 6.2),
    ),
    min_size=1,
    max_size=15,
)


def targets(rows: Sequence[tuple]) -> Tensor:
    """Return the targets of rows of label, user and item."""
    schema = {"label": pl.Boolean, "user": pl.String, "item": pl.Int64}
    return TASK.targets(pl.DataFrame([row[:3] for row in rows], schema, orient="row").to_struct(), pl.DataFrame())


def raw_of(rows: Sequence[tuple]) -> Tensor:
    """Return the vectors at the angles of the user and of the item."""
    user, item = (torch.tensor([row[place] for row in rows], dtype=torch.float64) for place in (3, 4))
    return torch.stack([user.cos(), user.sin(), item.cos(), item.sin()], 1)


def loop(rows: Sequence[tuple], kind: str, margin: float = 0.3) -> list[float]:
    """Return each row's loss, NaN where it has none."""
    found = []
    for label, user, item, at, there in rows:
        fits = [i for y, u, i, _, _ in rows if y and u == user]
        away = [_distance(at, t) for _, _, i, _, t in rows if i is not None and i not in fits]
        if not label or user is None or item is None or not away:
            found.append(math.nan)
            continue
        near = _distance(at, there)
        if kind == "random":
            found.append(sum(max(0, near - far + margin) for far in away) / len(away))
            continue
        beyond = [far for far in away if far > near]
        chosen = min(away) if kind == "hard" else min(beyond) if beyond else max(away)
        found.append(max(0, near - chosen + margin))
    return found


def _distance(first: float, second: float) -> float:
    return (math.cos(first) - math.cos(second)) ** 2 + (math.sin(first) - math.sin(second)) ** 2


class TestLoss:
    @pytest.mark.parametrize("kind", KINDS)
    @settings(max_examples=100)
    @given(rows=ROWS)
    def test_equals_a_loop_over_triplets(self, kind: str, rows: list[tuple]):
        task, target = TASKS[kind], targets(rows)
        expected = torch.tensor(loop(rows, kind), dtype=torch.float64)
        counts = task.counts(target)
        assert torch.equal(counts, ~expected.isnan())
        # A negative as far as the positive is beyond it or not by rounding alone: then both choices are right.
        ties = torch.tensor([_is_tied(rows, row) for row in range(len(rows))])
        compared = counts & ~ties if kind == "semi_hard" else counts
        torch.testing.assert_close(task.loss(raw_of(rows), target)[compared], expected[compared], atol=1e-6, rtol=0)

    @settings(max_examples=100)
    @given(rows=ROWS)
    def test_of_the_hardest_negative_is_the_highest(self, rows: list[tuple]):
        losses = {kind: task.loss(raw_of(rows), targets(rows)) for kind, task in TASKS.items()}
        assert (losses["hard"] >= losses["semi_hard"] - 1e-12).all()
        assert (losses["hard"] >= losses["random"] - 1e-12).all()

    @settings(max_examples=50)
    @given(rows=ROWS)
    def test_of_a_semi_hard_negative_never_exceeds_the_margin_where_one_lies_beyond(self, rows: list[tuple]):
        loss = TASK.loss(raw_of(rows), targets(rows))
        for row, (_, _, _, at, there) in enumerate(rows):
            fits = [i for y, u, i, _, _ in rows if y and u == rows[row][1]]
            away = [_distance(at, t) for _, _, i, _, t in rows if i is not None and i not in fits]
            if any(far > _distance(at, there) + 1e-9 for far in away):
                assert loss[row] <= TASK.margin + 1e-9

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_zero_where_all_negatives_are_beyond_the_margin(self, kind: str):
        rows = [(True, "ann", 1, 0.0, 0.1), (True, "bob", 2, math.pi, math.pi), (None, None, 3, 1.0, 2.0)]
        raw = raw_of(rows).requires_grad_()
        loss = TASKS[kind].loss(raw, targets(rows))
        loss.sum().backward()
        assert loss.tolist() == [0, 0, 0]
        assert raw.grad is not None and not raw.grad.any()

    def test_offers_the_items_of_unobserved_rows_and_those_drawn(self):
        rows = [(True, "ann", 1, 0.0, 0.0), (True, "ann", 2, 0.0, 0.2)]
        target = targets(rows)
        drawn = torch.cat([target[:1], TASK.as_negatives(target[1:])])
        assert TASK.counts(target).tolist() == [False, False]
        assert TASK.counts(drawn).tolist() == [True, False]
        assert float(TASK.loss(raw_of(rows), drawn)[0]) == pytest.approx(0.3 - _distance(0.0, 0.2))


def _is_tied(rows: Sequence[tuple], row: int) -> bool:
    _, _, _, at, there = rows[row]
    return any(abs(_distance(at, other[4]) - _distance(at, there)) < 1e-9 for other in rows if other[2] != rows[row][2])


def test_pinned_values():
    rows = [
        (True, "ann", 1, 0.0, math.pi / 2),
        (True, "bob", 2, 0.0, math.pi / 3),
        (False, "ann", 3, 0.0, 2 * math.pi / 3),
    ]
    raw, target = raw_of(rows), targets(rows)
    # Squared distances from the angle 0: 2 for item 1, 1 for item 2 and 3 for item 3.
    for kind, expected in {"semi_hard": [0, 0], "hard": [1.3, 0], "random": [0.65, 0]}.items():
        torch.testing.assert_close(
            TASKS[kind].loss(raw, target), torch.tensor([*expected, 0.0], dtype=torch.float64), atol=1e-9, rtol=0
        )


class TestHead:
    @settings(max_examples=20)
    @given(seed=st.integers(0, 10**6))
    def test_says_vectors_of_length_one_whose_sides_do_not_meet(self, seed: int):
        torch.manual_seed(seed)
        head = TASK.build(5, pl.DataFrame())
        user, item = torch.randn(7, 5), torch.randn(7, 5)
        raw = head(user, item)
        torch.testing.assert_close(raw.reshape(7, 2, 2).norm(dim=2), torch.ones(7, 2))
        assert torch.equal(head(user, torch.randn(7, 5))[:, :2], raw[:, :2])
        assert torch.equal(head(torch.randn(7, 5), item)[:, 2:], raw[:, 2:])

    def test_hands_on_a_state_of_the_width_that_its_tower_names(self):
        head = Triplet(name="fits", label="liked", tower=(8, 3)).build(5, pl.DataFrame())
        assert head.state(torch.randn(7, 5), torch.randn(7, 5)).shape == (7, head.tower.width)

    def test_predicts_the_cosine_from_zero_to_one(self):
        raw = torch.tensor([[1.0, 0, 1, 0], [1, 0, -1, 0], [1, 0, 0.6, 0.8]])
        cosine = functional.cosine_similarity(raw[:, :2], raw[:, 2:])
        torch.testing.assert_close(TASK.predict(raw, pl.DataFrame()), (1 + cosine) / 2)


def test_cannot_come_after_a_task():
    with pytest.raises(ValidationError, match="Triplet compares vectors and is no probability"):
        Triplet(name="fits", label="liked", after="like")


@pytest.mark.parametrize(
    ("label", "found"),
    [([0, 2], r"also \[2\.0\]"), (["yes", "no"], "the type String"), ([False, False], "none"), ([None, False], "none")],
)
def test_other_labels_are_refused_by_name(label: list, found: str):
    labels = pl.DataFrame({"label": label, "user": [1, 2], "item": [1, 2]}).to_struct()
    with pytest.raises(UserError, match=f"label 'liked' of the task 'fits': .*found {found}"):
        TASK.fit(labels)
