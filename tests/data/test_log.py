"""Histories: strictly the user's past, against a naive loop."""

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec import Categorical, History
from polyrec.data.log import TIME, USER, Log

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30)


def frame(rows: list[tuple[int, int, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={USER: pl.Int64, TIME: pl.Int64, "item_id": pl.Int64, "rating": pl.Int64}, orient="row")


def items_of(history: History, log: Log, rows: pl.DataFrame) -> list[list[int]]:
    """Return each row's history as item ids, read back from what the model would see."""
    of = Categorical(name="item_id")
    state = pl.DataFrame({"value": [1, 2, 3, 4, 5], "count": [1] * 5})
    padded = history.column({"item_id": of}, {"item_id": state}, log, rows).take(torch.arange(rows.height))
    elements = padded.elements.view(padded.mask_BL.shape)
    return [own[mask].tolist() for own, mask in zip(elements, padded.mask_BL, strict=True)]


def naive(log: pl.DataFrame, rows: pl.DataFrame, length: int, liked: bool) -> list[list[int]]:
    found = []
    ordered = sorted(enumerate(log.rows(named=True)), key=lambda pair: (pair[1][TIME], pair[0]))
    for row in rows.rows(named=True):
        past = [
            event["item_id"]
            for _, event in ordered
            if event[USER] == row[USER] and (TIME not in row or event[TIME] < row[TIME]) and (not liked or event["rating"] >= 4)
        ]
        found.append(past[-length:])
    return found


class TestHistories:
    @settings(max_examples=150)
    @given(log=ROWS, rows=ROWS, length=st.integers(1, 6), liked=st.booleans(), timed=st.booleans())
    def test_equal_a_naive_loop(self, log, rows, length: int, liked: bool, timed: bool):
        past, asked = frame(log), frame(rows).select(USER, TIME) if timed else frame(rows).select(USER)
        history = History(name="h", of="item_id", length=length, where="rating >= 4" if liked else None)
        assert items_of(history, Log.of(past), asked) == naive(past, asked, length, liked)

    @settings(max_examples=50)
    @given(rows=ROWS)
    def test_a_change_at_or_after_a_row_leaves_its_history_alone(self, rows):
        table, history = frame(rows), History(name="h", of="item_id")
        before = items_of(history, Log.of(table), table.select(USER, TIME))
        boundary = table[TIME].max()
        changed = table.with_columns(item_id=pl.when(pl.col(TIME) == boundary).then(6 - pl.col("item_id")).otherwise("item_id"))
        after = items_of(history, Log.of(changed), table.select(USER, TIME))
        assert before == after

    def test_rows_of_one_instant_are_not_in_each_others_history(self):
        table = frame([(1, 5, 1, 4), (1, 5, 2, 4), (1, 6, 3, 4)])
        assert items_of(History(name="h", of="item_id"), Log.of(table), table.select(USER, TIME)) == [[], [], [1, 2]]

    def test_a_condition_on_null_does_not_hold(self):
        table = frame([(1, 1, 1, 4), (1, 2, 2, 2), (1, 3, 3, 4)]).with_columns(rating=pl.Series([4, None, 4]))
        assert items_of(History(name="h", of="item_id", where="rating >= 1"), Log.of(table), table.select(USER, TIME))[2] == [1]

    def test_no_event_passes_the_condition(self):
        table = frame([(1, 1, 1, 4)])
        assert items_of(History(name="h", of="item_id", where="rating > 9"), Log.of(table), table.select(USER)) == [[]]

    def test_users_and_times_of_another_type_are_the_same_users_and_times(self):
        table = frame([(1, 1, 1, 4), (1, 2, 2, 4)])
        asked = pl.DataFrame({USER: ["1"], TIME: [1.5]})
        assert items_of(History(name="h", of="item_id"), Log.of(table), asked) == [[1]]


class TestLog:
    def test_rows_that_it_holds_are_not_added_again(self):
        table = frame([(1, 1, 1, 4), (1, 1, 1, 4), (1, 2, 2, 4)])
        log = Log.of(table)
        assert log.with_rows(table, [USER, TIME, "item_id"]) is log

    def test_new_rows_are_added_in_order(self):
        log = Log.of(frame([(1, 3, 1, 4)])).with_rows(frame([(1, 2, 2, 4)]).drop("rating"), [USER, TIME, "item_id"])
        assert log.frame["item_id"].to_list() == [2, 1]
        assert log.frame["rating"].to_list() == [None, 4]

    @pytest.mark.parametrize(("user", "items"), [(1, [1]), ("1", [1]), (2, [2]), (9, []), ("x", []), (None, [])])
    def test_of_one_user(self, user: object, items: list[int]):
        log = Log.of(frame([(1, 1, 1, 4), (2, 1, 2, 4)]))
        assert log.of_user(user).frame["item_id"].to_list() == items
