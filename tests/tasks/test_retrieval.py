"""Retrieval: its loss against a loop and the softmax over all items, and what it keeps."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from polyrec import Retrieval, UserError

TASK = Retrieval(name="met", label="met", temperature=0.5, width=2)
ROWS = st.lists(
    st.tuples(st.sampled_from([True, False, None]), st.sampled_from([1, 2, 3, 4, 9, None])), min_size=1, max_size=20
)


def struct(rows: Sequence[tuple]) -> pl.Series:
    return pl.DataFrame(rows, {"label": pl.Boolean, "item": pl.Int64}, orient="row").to_struct()


def state_of(share: dict[int, float]) -> pl.DataFrame:
    return pl.DataFrame({"item": list(share), "share": list(share.values())}, {"item": pl.Int64, "share": pl.Float64})


STATE = state_of({1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1})


def directions(rows: int, seed: int) -> Tensor:
    raw = torch.randn(rows, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(raw, dim=2).reshape(rows, 4)


def loop(rows: Sequence[tuple], drawn: int, raw: Tensor) -> list[float]:
    """Return each row's loss, the last `drawn` rows having uniformly drawn items; NaN where it has none."""
    shares = dict(STATE.iter_rows())
    own = sum(item is not None for _, item in rows[: len(rows) - drawn])
    others = sum(item is not None for _, item in rows[len(rows) - drawn :])
    found = []
    for row, (label, item) in enumerate(rows):
        if not label or item is None or row >= len(rows) - drawn:
            found.append(math.nan)
            continue
        total = 0.0
        for place, (_, other) in enumerate(rows):
            if other is None or (other == item and place != row):
                continue
            expected = own * shares.get(other, 0.1) + others / 4
            weight = math.exp(float(raw[row, :2] @ raw[place, 2:]) / 0.5) / expected
            total += weight
            if place == row:
                asked = weight
        found.append(-math.log(asked / total))
    return found


class TestLoss:
    @settings(max_examples=100)
    @given(rows=ROWS, drawn=st.integers(0, 5), seed=st.integers(0, 99))
    def test_equals_a_loop_over_rows(self, rows: list[tuple], drawn: int, seed: int):
        drawn = min(drawn, len(rows))
        raw, target = directions(len(rows), seed), TASK.targets(struct(rows), STATE)
        target = torch.cat([target[: len(rows) - drawn], TASK.as_negatives(target[len(rows) - drawn :])])
        expected = torch.tensor(loop(rows, drawn, raw), dtype=torch.float64)
        assert torch.equal(TASK.counts(target), ~expected.isnan())
        torch.testing.assert_close(TASK.loss(raw, target), expected.nan_to_num(0.0))

    @settings(max_examples=50)
    @given(items=st.integers(2, 8), seed=st.integers(0, 99))
    def test_is_plain_cross_entropy_where_each_item_stands_there_once(self, items: int, seed: int):
        state = state_of(dict.fromkeys(range(items), 1 / items))
        raw = directions(items, seed)
        target = TASK.targets(struct([(True, item) for item in range(items)]), state)
        logits = raw[:, :2] @ raw[:, 2:].T / 0.5
        expected = functional.cross_entropy(logits, torch.arange(items), reduction="none")
        torch.testing.assert_close(TASK.loss(raw, target), expected)

    @settings(max_examples=50)
    @given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
    def test_is_the_softmax_over_all_items_where_each_stands_there_as_often_as_expected(self, counts: list[int], seed: int):
        """Frequent items are corrected for: the row asks for item 0, met once; the others are met more or less often."""
        counts = [1, *counts]
        once = directions(len(counts), seed)
        total = sum(counts)
        state = state_of({item: count / total for item, count in enumerate(counts)})
        number = np.repeat(np.arange(len(counts)), counts)
        raw = torch.cat([once[[0] * total, :2], once[number, 2:]], 1)
        target = TASK.targets(struct([(True, int(item)) for item in number]), state)
        expected = functional.cross_entropy(once[0, :2] @ once[:, 2:].T / 0.5, torch.tensor(0))
        torch.testing.assert_close(TASK.loss(raw, target)[0], expected)

    def test_masks_other_rows_with_the_own_item(self):
        rows = [(True, 1), (True, 2), (None, 1)]
        raw, target = directions(3, 0), TASK.targets(struct(rows), STATE)
        raw.requires_grad_()
        TASK.loss(raw, target)[0].backward()
        assert raw.grad is not None
        assert raw.grad[:, 2:].any(1).tolist() == [True, True, False]

    def test_offers_the_items_of_unobserved_rows(self):
        raw, target = directions(2, 0), TASK.targets(struct([(True, 1), (None, 2)]), STATE)
        raw.requires_grad_()
        TASK.loss(raw, target)[0].backward()
        assert raw.grad is not None and raw.grad[1, 2:].any()


def test_pinned_value():
    raw = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]], dtype=torch.float64)
    target = TASK.targets(struct([(True, 1), (False, 2), (True, 4)]), STATE)
    target = torch.cat([target[:2], TASK.as_negatives(target[2:])])
    first, second, third = math.exp(2) / (2 * 0.4 + 1 / 4), 1 / (2 * 0.3 + 1 / 4), 1 / (2 * 0.1 + 1 / 4)
    expected = -math.log(first / (first + second + third))
    torch.testing.assert_close(TASK.loss(raw, target), torch.tensor([expected, 0, 0], dtype=torch.float64))


def test_learns_the_share_of_every_item_in_order():
    labels = struct([(True, 5), (None, 3), (False, 5), (True, None), (True, 7)])
    state = TASK.fit(labels)
    assert state.to_dict(as_series=False) == {"item": [3, 5, 7], "share": [0.25, 0.5, 0.25]}
    target = TASK.targets(labels, state)
    assert target[:, 0].tolist() == [1, -1, 0, -1, 1]
    assert target[:, 2].tolist() == [0.5, 0.25, 0.5, 0.25, 0.25]
    assert TASK.observed(labels, state).tolist() == [True, False, True, False, True]


def test_numbers_an_item_by_itself_whatever_the_other_rows():
    alone = TASK.targets(struct([(None, 9)]), STATE)
    among = TASK.targets(struct([(True, 1), (False, 9), (True, 9)]), STATE)
    assert alone[0, 1] == among[1, 1] == among[2, 1] != among[0, 1]


def test_reads_categories_as_the_strings_that_they_stand_for():
    labels = pl.DataFrame({"label": [True, True], "item": ["b", "a"]})
    category = labels.with_columns(pl.col("item").cast(pl.Categorical))
    state = TASK.fit(category.to_struct())
    assert state["item"].to_list() == ["a", "b"]
    assert torch.equal(TASK.targets(labels.to_struct(), state), TASK.targets(category.to_struct(), state))


def test_labels_none_of_which_is_true_are_refused():
    with pytest.raises(UserError, match="label 'met' of the task 'met': expected at least one true label, found none"):
        TASK.fit(struct([(False, 1), (None, 2)]))
