"""The table of a refresh: what a version keeps of its rows, and the events of a store as rows behind them."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from polyrec import Binary, Categorical, Fitted, History, Numeric, RandomSplit, Recommender, Tables, Training, UserError
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event, ItemChange
from polyrec.serve.stores.store import Store
from polyrec.serve.versions.slot import Slot
from polyrec.serve.versions.table_to_learn import TableToLearn, kept_table, with_events

SPEC = Recommender(
    user=(
        Categorical(name="user_id", width=4),
        Numeric(name="age", width=4),
        History(name="liked", of="item_id", where="rating >= 4", length=5, width=4),
    ),
    item=(Categorical(name="item_id", width=4), Numeric(name="price", width=4)),
    tasks=(Binary(name="like", label="rating >= 4", tower=()),),
    training=Training(epochs=1, batch_size=64, split=RandomSplit(fraction=0.5)),
)
TABLE = pl.DataFrame(
    {
        "user_id": [1, 1, 2, 2, 3] * 4,
        "item_id": [10, 20, 10, 30, 20] * 4,
        "rating": [5, 1, 4, 2, 3] * 4,
        "timestamp": range(100, 120),
        "age": [30.0, 30.0, 40.0, 40.0, None] * 4,
        "price": [1.5, 2.5, 1.5, 3.5, 2.5] * 4,
    }
)


def slot_of(table: pl.DataFrame | Tables) -> Slot:
    return Slot("v", SPEC.fit(table, progress=False))


@pytest.fixture(scope="module")
def slot() -> Slot:
    return slot_of(TABLE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
        yield store


def event(user: str, item: str, at: float, **values: float) -> Event:
    return Event(id=f"{user}-{item}-{at}", user=user, item=item, type="rate", time=at, values=values)


class TestKept:
    def test_the_rows_come_back(self, slot: Slot):
        table = kept_table(slot.fitted)
        whole = Tables(table.rows, table.users, table.items)
        assert_frame_equal(_wide(whole), TABLE, check_row_order=False, check_column_order=False)

    @pytest.mark.parametrize("kind", ["datetime", "zoned", "text", "zoned text"])
    def test_times_are_told_as_they_were(self, kind: str):
        moments = pl.from_epoch(TABLE["timestamp"] * 1_000_001, time_unit="us").dt.cast_time_unit("us")
        moments = moments.dt.replace_time_zone("UTC") if kind.startswith("zoned") else moments
        moments = (
            moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("%:z" if kind == "zoned text" else ""))
            if "text" in kind
            else moments
        )
        table = TABLE.with_columns(timestamp=moments)
        assert kept_table(slot_of(table).fitted).rows.select("timestamp").sort("timestamp").equals(table.select("timestamp"))

    def test_what_was_not_kept_is_named(self, served: Fitted):
        with pytest.raises(UserError, match=r"found no column 'genres'\. Give the table that it was fitted on, too: --data"):
            kept_table(served)


class TestEvents:
    def test_an_event_is_a_row_with_what_is_known_of_its_user_and_item(self, slot: Slot, store: Store):
        store.append([event("2", "20", 200.0, rating=5), event("3", "10", 201.5), event("77", "88", 202.0, rating=1)])
        rows = with_events(TableToLearn(TABLE), slot, store).rows
        assert rows.head(20).with_columns(pl.col("timestamp").cast(pl.Int64)).equals(TABLE)
        assert rows.tail(3).rows() == [
            (2, 20, 5, 200.0, 40.0, 2.5),
            (3, 10, None, 201.5, None, 1.5),
            (77, 88, 1, 202.0, None, None),
        ]

    def test_what_the_table_has_already_counts_once(self, slot: Slot, store: Store):
        store.append([event("1", "10", 100.0, rating=1), event("1", "10", 100.5, rating=1), event("1", "20", 100.0, rating=1)])
        assert with_events(TableToLearn(TABLE), slot, store).rows.height == 22
        assert with_events(kept_table(slot.fitted), slot, store).rows.height == 22

    def test_what_can_be_no_row_is_left_out(self, slot: Slot, store: Store):
        assert with_events(TableToLearn(TABLE), slot, store).rows.equals(TABLE)
        store.append([event("nobody", "10", 200.0), event("1", "nothing", 200.0)])
        assert with_events(TableToLearn(TABLE), slot, store).rows.equals(TABLE)

    def test_side_tables_grow(self, store: Store):
        users = TABLE.select("user_id", "age").unique("user_id", maintain_order=True)
        items = pl.concat([TABLE.select("item_id", "price").unique(), pl.DataFrame({"item_id": [40], "price": [9.0]})])
        data = Tables(TABLE.drop("age", "price"), users, items)
        slot = slot_of(data)
        store.put_items([ItemChange(item="50", columns={"item_id": 50, "price": 7.5})])
        slot.follow(store)
        store.append([event("9", "50", 200.0, rating=5), event("1", "60", 201.0, rating=5)])
        for table in (TableToLearn.of(data), kept_table(slot.fitted)):
            grown = with_events(table, slot, store)
            wide = _wide(grown.tables(grown.rows)).filter(pl.col("timestamp") >= 200).select(TABLE.columns)
            assert wide.rows() == [(9, 50, 5, 200, None, 7.5), (1, 60, 5, 201, 30.0, None)]
            assert grown.items is not None and set(grown.items["item_id"]) == {10, 20, 30, 40, 50, 60}
            fitted = SPEC.fit(grown.tables(grown.rows), progress=False)
            assert set(fitted.items["item_id"]) == {10, 20, 30, 40, 50, 60}
            assert fitted.catalogue.users.keys.find([9]) != [None]

    def test_who_was_erased_is_in_no_row_and_comes_back_by_later_events_alone(self, slot: Slot, store: Store):
        store.append([event("2", "10", 150.0, rating=5), event("1", "10", 151.0, rating=5)])
        store.erase("2")
        for table in (TableToLearn(TABLE), kept_table(slot.fitted)):
            grown = with_events(table, slot, store)
            assert set(grown.rows["user_id"]) == {1, 3} and grown.rows.height == 13
            assert grown.users is None or set(grown.users["user_id"]) == {1, 3}
        store.append([event("2", "10", 160.0, rating=5)])
        assert with_events(TableToLearn(TABLE), slot, store).rows.filter(user_id=2)["timestamp"].to_list() == [160]

    @pytest.mark.parametrize("kind", [pl.Float64, pl.String, pl.Int32])
    def test_who_was_erased_is_in_no_row_of_another_type_of_key(self, slot: Slot, store: Store, kind: type[pl.DataType]):
        store.erase("2")
        table = TABLE.with_columns(pl.col("user_id").cast(kind))
        rows = with_events(TableToLearn(table), slot, store).rows
        assert set(rows["user_id"].cast(pl.Int64)) == {1, 3}

    def test_times_are_those_of_the_table(self, store: Store):
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        moments = [start + datetime.timedelta(seconds=number) for number in range(20)]
        table = TABLE.with_columns(timestamp=pl.Series(moments))
        slot = slot_of(table)
        store.append([event("1", "10", start.timestamp()), event("1", "10", start.timestamp() + 60.25)])
        rows = with_events(TableToLearn(table), slot, store).rows
        assert rows["timestamp"].to_list() == [*moments, start + datetime.timedelta(seconds=60.25)]


def _wide(data: Tables) -> pl.DataFrame:
    frame = data.interactions
    for side, key in ((data.users, "user_id"), (data.items, "item_id")):
        frame = frame.join(side, on=key, how="left", maintain_order="left")
    return frame
