"""Streamed: who has a row of a table that is too small for all, against a plain simulation and the laws of a cache."""

from collections import Counter, OrderedDict

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import polyrec
from polyrec import Binary, Categorical, Hashed, History, Recommender, Streamed, Training, UserError
from polyrec.features.stream_vocabulary import Update, update_vocabulary

ids = st.lists(st.integers(0, 12), max_size=60)
rules = st.fixed_dictionaries(
    {"rows": st.integers(1, 8), "admit_after": st.integers(1, 4), "evict": st.sampled_from(["lru", "lfu"])}
)
law = settings(max_examples=60)


def update(state: pl.DataFrame | None, values: list[int], start: int = 0, **rules) -> Update:
    times = pl.Series(range(start, start + len(values)), dtype=pl.Int64)
    return update_vocabulary(state, pl.Series(values, dtype=pl.Int64), times, **rules)


def stream(parts: list[list[int]], **rules) -> list[Update]:
    """Return the updates by parts that follow one another in time."""
    updates, start, state = [], 0, None
    for part in parts:
        updates.append(update(state, part, start, **rules))
        state, start = updates[-1].state, start + len(part)
    return updates


def owners(state: pl.DataFrame) -> dict[int, int]:
    """Return who has which row."""
    return dict(state.filter(pl.col("row") > 0).select("row", "value").iter_rows())


def nothing_was_forgotten(parts: list[list[int]], states: list[pl.DataFrame]) -> bool:
    seen: set[int] = set()
    for part, state in zip(parts, states, strict=True):
        seen |= set(part)
        if len(state) < len(seen):
            return False
    return True


class TestLaws:
    @law
    @given(parts=st.lists(ids, max_size=4), rules=rules)
    def test_the_table_is_never_overfull_and_no_row_is_shared(self, parts: list[list[int]], rules: dict):
        for update in stream(parts, **rules):
            in_use = update.state.filter(pl.col("row") > 0)["row"].to_list()
            assert in_use == list(range(1, len(in_use) + 1))
            assert len(in_use) <= rules["rows"]
            assert len(update.state) - len(in_use) <= rules["rows"]
            assert update.state["value"].is_unique().all()

    @law
    @given(parts=st.lists(ids, min_size=1, max_size=4), rules=rules)
    def test_who_was_seen_often_enough_has_a_row_where_there_is_room(self, parts: list[list[int]], rules: dict):
        rules = rules | {"rows": 13}
        state = stream(parts, **rules)[-1].state
        counts = Counter(value for part in parts for value in part)
        assert dict(state.select("value", "count").iter_rows()) == counts
        assert set(owners(state).values()) == {value for value, count in counts.items() if count >= rules["admit_after"]}

    @law
    @given(parts=st.lists(ids, min_size=1, max_size=4), rules=rules)
    def test_who_lacks_a_row_comes_behind_all_who_have_one(self, parts: list[list[int]], rules: dict):
        state = stream(parts, **rules)[-1].state.filter(pl.col("count") >= rules["admit_after"])
        columns = ["last_seen", "count"] if rules["evict"] == "lru" else ["count", "last_seen"]
        has, lacks = (state.filter((pl.col("row") > 0) == has_row).select(columns).rows() for has_row in (True, False))
        assert not has or not lacks or min(has) > max(lacks)
        assert not lacks or len(has) == rules["rows"]

    @law
    @given(parts=st.lists(ids, max_size=4), rows=st.integers(1, 8))
    def test_lru_at_once_admitted_is_the_textbooks_cache(self, parts: list[list[int]], rows: int):
        cache: OrderedDict[int, None] = OrderedDict()
        for part, update in zip(parts, stream(parts, rows=rows, admit_after=1, evict="lru"), strict=True):
            for value in part:
                cache[value] = None
                cache.move_to_end(value)
                if len(cache) > rows:
                    cache.popitem(last=False)
            assert set(owners(update.state).values()) == set(cache)

    @law
    @given(parts=st.lists(ids, min_size=1, max_size=4), rules=rules)
    def test_parts_make_what_one_table_makes_where_none_is_evicted(self, parts: list[list[int]], rules: dict):
        rules = rules | {"rows": 13}
        once = update(None, [value for part in parts for value in part], **rules)
        assert_frame_equal(stream(parts, **rules)[-1].state, once.state)

    @law
    @given(parts=st.lists(ids, min_size=1, max_size=4), rules=rules)
    def test_parts_give_rows_to_whom_one_table_gives_them_where_none_is_forgotten(self, parts: list[list[int]], rules: dict):
        updates = stream(parts, **rules)
        once = update(None, [value for part in parts for value in part], **rules)
        if nothing_was_forgotten(parts, [update.state for update in updates]):
            assert set(owners(updates[-1].state).values()) == set(owners(once.state).values())

    @law
    @given(parts=st.lists(ids, max_size=5), rules=rules)
    def test_who_stays_keeps_the_row_and_every_change_is_told(self, parts: list[list[int]], rules: dict):
        before: dict[int, int] = {}
        for update in stream(parts, **rules):
            after = owners(update.state)
            changed = {row for row, value in after.items() if before.get(row) != value}
            assert update.given.tolist() == sorted(changed)
            assert update.recycled.tolist() == sorted(changed & before.keys())
            assert all(after[row] not in before.values() for row in changed)
            before = after

    @law
    @given(values=ids, rules=rules, order=st.randoms(use_true_random=False))
    def test_the_order_of_rows_in_the_table_does_not_count(self, values: list[int], rules: dict, order):
        shuffled = list(enumerate(values))
        order.shuffle(shuffled)
        times, column = (pl.Series([row[part] for row in shuffled], dtype=pl.Int64) for part in (0, 1))
        assert_frame_equal(update_vocabulary(None, column, times, **rules).state, update(None, values, **rules).state)


class TestStreamed:
    def fitted(self, values: list, times: list | None = None, state: pl.DataFrame | None = None, **settings):
        feature = Streamed(name="x", **{"rows": 2, **settings})
        clock = None if times is None else pl.Series(times)
        return feature, *feature.refit(pl.DataFrame({"x": values}), state, clock)

    def numbers(self, feature: Streamed, state: pl.DataFrame, values: list) -> list[int]:
        return feature.encode(pl.DataFrame({"x": values}), state).take(torch.arange(len(values))).tolist()

    def test_a_stream_by_hand(self):
        """Row 1 is a's and row 2 b's; c was seen once. Then c is seen again and takes the row of a, whom nobody saw since."""
        feature, first, recycled = self.fitted(["a", "b", "a", "b", "c", None], [1, 2, 3, 4, 5, 6])
        assert self.numbers(feature, first, ["a", "b", "c", "new", None]) == [1, 2, 0, 0, 0]
        assert recycled.tolist() == []
        _, second, recycled = self.fitted(["c"], [7], first)
        assert self.numbers(feature, second, ["a", "b", "c"]) == [0, 2, 1]
        assert recycled.tolist() == [1]
        expected = {"value": ["c", "b", "a"], "row": [1, 2, 0], "count": [2, 2, 2], "last_seen": [7, 4, 3]}
        assert second.to_dict(as_series=False) == expected

    def test_lfu_keeps_who_is_seen_most(self):
        feature, first, _ = self.fitted(["a", "a", "a", "b", "b"], [1, 2, 3, 4, 5], evict="lfu")
        _, second, recycled = self.fitted(["c", "c", "c"], [6, 7, 8], first, evict="lfu")
        assert self.numbers(feature, second, ["a", "b", "c"]) == [1, 0, 2]
        assert recycled.tolist() == [2]

    def test_without_times_a_table_is_one_instant_after_the_last(self):
        feature, first, _ = self.fitted(["a", "a", "b", "b", "b"])
        assert first["last_seen"].to_list() == [0, 0]
        _, second, recycled = self.fitted(["a", "c", "c"], None, first)
        assert self.numbers(feature, second, ["a", "b", "c"]) == [1, 0, 2]
        assert second.filter(pl.col("row") > 0)["last_seen"].to_list() == [1, 1]
        assert recycled.tolist() == [2]

    def test_ids_are_read_as_the_type_that_the_table_began_with(self):
        feature, first, _ = self.fitted([42, 42])
        _, second, _ = self.fitted(["42", "7", "7", "word"], None, first)
        assert self.numbers(feature, second, ["42", "7", "word"]) == [1, 2, 0]
        assert second["value"].dtype == pl.Int64

    def test_longer_integers_may_come_later(self):
        feature = Streamed(name="x", rows=2, admit_after=1)
        first = feature.fit(pl.DataFrame({"x": pl.Series([1], dtype=pl.Int8)}))
        second, _ = feature.refit(pl.DataFrame({"x": [2**40]}), first)
        assert self.numbers(feature, second, [1, 2**40]) == [1, 2]

    def test_times_may_be_dates_and_fractions(self):
        days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 3), eager=True)
        for times in (days, pl.Series([0.5, 0.6, 0.7])):
            feature = Streamed(name="x", rows=1, admit_after=1)
            state, _ = feature.refit(pl.DataFrame({"x": ["a", "b", "c"]}), None, times)
            assert owners(state) == {1: "c"}
            assert owners(feature.refit(pl.DataFrame({"x": ["a"]}), state)[0]) == {1: "a"}

    def test_nobody_at_first_leaves_room_for_all_later(self):
        feature, first, _ = self.fitted([None, None])
        assert first.is_empty()
        _, second, _ = self.fitted(["a", "a"], None, first)
        assert self.numbers(feature, second, ["a"]) == [1]

    def test_what_is_no_id_or_no_time_is_refused(self):
        with pytest.raises(UserError, match="column 'x' of the feature 'x': expected integers, strings"):
            self.fitted([0.5])
        with pytest.raises(UserError, match="times of the feature 'x': expected a time in every row, found null in 1 rows"):
            self.fitted(["a", "b"], [1, None])


class TestEncoder:
    def test_its_table_is_as_large_as_declared_whatever_was_seen(self):
        feature = Streamed(name="x", rows=7, width=4)
        encoder = feature.build(feature.fit(pl.DataFrame({"x": ["a"]})))
        assert encoder.table.weight.shape == (8, 4)
        assert encoder.tables() == [encoder.table]

    def test_recycles_the_rows_asked_for_and_no_other(self):
        feature = Streamed(name="x", rows=2000, width=16)
        torch.manual_seed(0)
        encoder = feature.build(feature.fit(pl.DataFrame({"x": ["a"]})))
        with torch.no_grad():
            encoder.table.weight.fill_(9.0)
        encoder.recycle(torch.arange(1, 2001, 2))
        weight = encoder.table.weight.detach()
        assert (weight[::2] == 9).all()
        assert weight[1::2].std().item() == pytest.approx(0.01, rel=0.05)
        assert weight[1::2].mean().item() == pytest.approx(0, abs=0.0004)
        assert encoder.table.weight.requires_grad


def test_hashed_beside_it_tells_apart_who_has_no_row():
    table = pl.DataFrame({"x": ["a", "a", "b", "c"]})
    streamed, hashed = Streamed(name="x", rows=2), Hashed(name="y", column="x", rows=1000)
    assert streamed.encode(table, streamed.fit(table)).values_N.tolist() == [1, 1, 0, 0]
    assert len(hashed.encode(table, hashed.fit(table)).values_N.unique(dim=0)) == 3


def test_a_model_with_tables_of_open_vocabularies_is_saved_and_read(tmp_path):
    table = pl.DataFrame(
        {"u": [n % 7 for n in range(200)], "i": [n * n % 11 for n in range(200)], "y": [n % 3 for n in range(200)]}
    )
    table = table.with_columns(time=pl.int_range(pl.len()))
    spec = Recommender(
        user=(Categorical(name="u"), Hashed(name="who", column="u", rows=3), History(name="past", of="what")),
        item=(Categorical(name="i"), Hashed(name="what", column="i", rows=4), Streamed(name="which", column="i", rows=3)),
        tasks=(Binary(name="like", label="y = 0"),),
    )
    fitted = spec.fit(table, training=Training(epochs=1, batch_size=64), progress=False)
    fitted.save(tmp_path / "artifact")
    again = polyrec.load(tmp_path / "artifact").predict(table)
    assert_frame_equal(again, fitted.predict(table), check_exact=True)
    assert len(again.filter(u=0)["like"].unique()) > 2
