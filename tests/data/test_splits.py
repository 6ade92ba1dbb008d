"""Splits hold out the documented rows, and never leave a side empty."""

import polars as pl
import pytest

from polyrec import LastSplit, RandomSplit, TimeSplit, UserError
from polyrec.data.splits import Rows

USERS = pl.Series([1, 1, 1, 2, 2, 3])
TIMES = pl.Series([3, 1, 2, 5, 5, 9])
ROWS = Rows(6, USERS, TIMES)


class TestRandomSplit:
    def test_holds_out_the_share_and_depends_on_the_seed_alone(self):
        rows = Rows(1000, None, None)
        first, again, other = (RandomSplit(fraction=0.2).held_out(rows, seed) for seed in (1, 1, 2))
        assert first.sum() == 200
        assert first.to_list() == again.to_list()
        assert first.to_list() != other.to_list()

    def test_an_empty_side_is_refused(self):
        with pytest.raises(UserError, match=r"rows on both sides, found 3 kept and 0 held out of 3"):
            RandomSplit(fraction=0.1).held_out(Rows(3, None, None), 0)


class TestTimeSplit:
    def test_holds_out_the_latest(self):
        assert TimeSplit(fraction=1 / 6).held_out(ROWS, 0).to_list() == [False] * 5 + [True]

    def test_an_instant_stands_on_one_side(self):
        assert TimeSplit(fraction=0.34).held_out(ROWS, 0).to_list() == [False, False, False, True, True, True]

    def test_one_instant_only_is_refused(self):
        with pytest.raises(UserError, match="0 kept and 2 held out"):
            TimeSplit().held_out(Rows(2, None, pl.Series([4, 4])), 0)

    def test_needs_a_time(self):
        with pytest.raises(UserError, match="expected a time column, found none declared"):
            TimeSplit().held_out(Rows(6, USERS, None), 0)


class TestLastSplit:
    def test_holds_out_the_last_of_each_user_who_has_more(self):
        assert LastSplit().held_out(ROWS, 0).to_list() == [True, False, False, False, True, False]

    def test_two_each(self):
        assert LastSplit(count=2).held_out(ROWS, 0).to_list() == [True, False, True, False, False, False]

    def test_needs_users(self):
        with pytest.raises(UserError, match="expected a user column"):
            LastSplit().held_out(Rows(6, None, TIMES), 0)
