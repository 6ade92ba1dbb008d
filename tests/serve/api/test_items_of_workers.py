"""Changes of items among several workers and versions over one store, and such as do not fit."""

import asyncio
import datetime as dt
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.testclient import TestClient

from polyrec import Binary, Categorical, Numeric, Recommender, Tables, Training, Vector
from polyrec.serve.app import _watch
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import ItemChange
from polyrec.serve.stores.store import Store
from polyrec.serve.versions.slot import Slot
from polyrec.serve.versions.versions import publish, version_of
from polyrec.serve.watch.metrics import Metrics

SPEC = Recommender(
    user=(Categorical(name="user_id", width=4),),
    item=(Categorical(name="item_id", width=4), Numeric(name="price", width=4), Numeric(name="stock", width=4)),
    tasks=(Binary(name="like", label="rating >= 4", tower=()),),
    training=Training(epochs=1, batch_size=512),
)
NUMBERS = range(5, 425, 7)
TYPED = pl.DataFrame(
    {
        "item_id": NUMBERS,
        "price": [float(number) for number in NUMBERS],
        "stock": [1.0] * 60,
        "released": [dt.date(2020, 1, 1)] * 60,
        "seen_at": pl.Series([1577854800123456789] * 60).cast(pl.Datetime("ns", "Europe/Berlin")),
        "length": [dt.timedelta(hours=1, microseconds=5)] * 60,
        "opens": [dt.time(8, 30)] * 60,
        "cost": pl.Series(["1.25"] * 60).cast(pl.Decimal(10, 2)),
        "shelf": pl.Series(["a", "b"] * 30, dtype=pl.Categorical),
        "size": pl.Series(["S"] * 60, dtype=pl.Enum(["S", "M"])),
        "tags": [["new", None]] * 60,
        "maker": [{"name": "x", "since": dt.date(2000, 1, 1)}] * 60,
        "code": pl.Series([2**63 + 5] * 60, dtype=pl.UInt64),
        "is_new": [True, None] * 30,
        "picture": [b"\xff\x00"] * 60,
    }
)


@pytest.fixture(scope="module")
def ratings(world: pl.DataFrame) -> pl.DataFrame:
    return world.head(600).select("user_id", "item_id", "rating", "timestamp")


@pytest.fixture(scope="module")
def shop(ratings: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recommender whose catalogue has a column of every type."""
    fitted = SPEC.fit(Tables(ratings, items=TYPED), progress=False)
    assert set(fitted.items.columns) == set(TYPED.columns)
    return fitted.save(tmp_path_factory.mktemp("shop") / "artifact")


@pytest.fixture(scope="module")
def texts(ratings: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recommender whose items have texts for keys, in place of numbers."""
    rows = ratings.with_columns(pl.col("item_id").cast(pl.String), price=pl.lit(1.0), stock=pl.lit(1.0))
    return SPEC.fit(rows, progress=False).save(tmp_path_factory.mktemp("texts") / "artifact")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
        yield store


def put(client: TestClient, **columns: Any) -> Any:
    return client.post("/items", json={"items": [columns]})


def items_of(client: TestClient) -> pl.DataFrame:
    client.app.state.service.router.follow()  # type: ignore[attr-defined]
    return client.app.state.service.router.current.fitted.items.sort("item_id")  # type: ignore[attr-defined, no-any-return]


def listed(client: TestClient) -> list[str]:
    return [item["item"] for item in client.post("/recommend", json={"k": 100}).json()["items"]]


class TestEveryType:
    def test_what_is_not_told_stays_in_every_worker_and_after_a_restart(self, serve: Any, shop: Path, store: Store):
        with serve(shop) as client:
            assert put(client, item_id=5, price=7.0).status_code == 200
            assert put(client, item_id=999, price=8.0).status_code == 200
            before = items_of(client)
        new = pl.DataFrame({"item_id": [999], "price": [8.0]}).cast({"item_id": before.schema["item_id"]})
        changed = TYPED.with_columns(price=pl.when(item_id=5).then(7.0).otherwise("price"))
        expected = pl.concat([changed, new], how="diagonal").sort("item_id").select(before.columns)
        assert_frame_equal(before, expected)
        with serve(shop) as client:
            assert_frame_equal(items_of(client), expected)
        assert [set(one.columns or {}) for one in store.items_since(0)] == [{"item_id", "price"}] * 2

    def test_values_of_every_type_can_be_told_and_come_back(self, serve: Any, shop: Path):
        columns = {
            "released": "2024-02-29",
            "seen_at": "2024-01-01T05:00:00+01:00",
            "length": "PT2H0.5S",
            "opens": "09:00:00",
            "cost": "3.75",
            "shelf": "c",
            "size": "M",
            "tags": ["old"],
            "maker": {"name": "y", "since": "2001-01-01"},
            "code": 2**63 + 7,
            "is_new": False,
        }
        zoned = dt.datetime(2024, 1, 1, 4, tzinfo=dt.UTC)
        expected = (dt.date(2024, 2, 29), zoned, dt.timedelta(hours=2, seconds=0.5), dt.time(9))
        with serve(shop) as client:
            assert put(client, item_id=12, **columns).status_code == 200
            (shown,) = client.post("/recommend", json={"k": 1, "where": "item_id = 12", "columns": [*columns]}).json()["items"]
            assert shown["columns"]["released"] == "2024-02-29" and shown["columns"]["maker"]["since"] == "2001-01-01"
        with serve(shop) as client:
            row = items_of(client).filter(item_id=12).row(0, named=True)
            assert (row["released"], row["seen_at"], row["length"], row["opens"]) == expected
            assert (str(row["cost"]), row["shelf"], row["size"], row["tags"]) == ("3.75", "c", "M", ["old"])
            assert row["maker"] == {"name": "y", "since": dt.date(2001, 1, 1)}
            assert (row["code"], row["is_new"]) == (2**63 + 7, False)

    def test_an_item_that_comes_back_is_as_it_was(self, serve: Any, shop: Path):
        with serve(shop) as client:
            put(client, item_id=5, price=7.0, released="2024-02-29")
            before = items_of(client)
            assert client.delete("/items/5").status_code == 204
            assert put(client, item_id=5).status_code == 200
        with serve(shop) as client:
            assert_frame_equal(items_of(client), before)
            assert "5" in listed(client)

    @pytest.mark.parametrize("body", [{"item_id": 5, "picture": "x"}, {"item_id": 5, "picture": None}])
    def test_bytes_cannot_be_told(self, serve: Any, shop: Path, body: dict[str, Any]):
        with serve(shop) as client:
            answer = put(client, **body)
            assert answer.status_code == 409
            assert "column 'picture' of items" in answer.json()["error"]

    def test_bytes_cannot_be_asked_for(self, serve: Any, shop: Path):
        with serve(shop) as client:
            for path, asked in (("/recommend", {}), ("/similar", {"item": "5"})):
                answer = client.post(path, json={**asked, "columns": ["picture"]})
                assert answer.status_code == 409
                assert "expected a column 'picture', found no such column" in answer.json()["error"]
            assert "picture" not in client.get("/model").json()["columns"]
            event = {"id": "e", "user": "101", "item": "5", "type": "view", "time": 5000}
            client.post("/events", json={"events": [event]})
            assert client.get("/users/101").json()["history"][0]["columns"]["released"] == "2020-01-01"

    def test_a_value_that_does_not_fit_is_refused(self, serve: Any, shop: Path):
        with serve(shop) as client:
            wrong = {"released": "soon", "length": 5, "opens": "25:00", "size": "XL", "maker": 5, "code": -1}
            for name, value in wrong.items():
                answer = put(client, item_id=5, **{name: value})
                assert (name, answer.status_code) == (name, 409)
                assert f"column '{name}' of items" in answer.json()["error"]


class TestWorkers:
    @pytest.mark.parametrize("turn", [1, -1])
    @pytest.mark.parametrize("item", [5, 999])
    def test_what_two_tell_of_an_item_counts_both(self, serve: Any, shop: Path, tmp_path: Path, turn: int, item: int):
        column_sets = [{"price": 777.0}, {"stock": 888.0}][::turn]
        with serve(shop, every=60) as one, serve(shop, every=60, journal=tmp_path / "journal-b") as other:
            changes = [
                [ItemChange(item=f"{item}", columns={"item_id": item, **columns})] for columns in column_sets
            ]  # neither knows of the other's
            for client, change in zip((one, other), changes, strict=True):
                client.app.state.service.store.put_items(change)
            for client in (one, other):
                row = items_of(client).filter(item_id=item).row(0, named=True)
                assert (row["price"], row["stock"]) == (777.0, 888.0)
                assert row["released"] == (dt.date(2020, 1, 1) if item == 5 else None)

    def test_by_their_requests(self, serve: Any, shop: Path, tmp_path: Path):
        with serve(shop, every=60) as one, serve(shop, every=60, journal=tmp_path / "journal-b") as other:
            assert put(one, item_id=999, price=777.0).status_code == 200
            assert put(other, item_id=999, stock=888.0).status_code == 200
            assert put(one, item_id=5, stock=888.0).status_code == 200
            assert put(other, item_id=5, price=777.0).status_code == 200
            for client in (one, other):
                rows = items_of(client).filter(pl.col("item_id").is_in([5, 999]))
                assert rows.select("price", "stock").rows() == [(777.0, 888.0)] * 2

    def test_an_item_that_another_took_away_comes_back_with_what_was_told_of_it(self, serve: Any, shop: Path, tmp_path: Path):
        with serve(shop, every=60) as one, serve(shop, every=60, journal=tmp_path / "journal-b") as other:
            put(one, item_id=5, price=777.0)
            items_of(other)
            assert one.delete("/items/5").status_code == 204
            assert put(other, item_id=5, stock=888.0).status_code == 200
            for client in (one, other):
                assert items_of(client).filter(item_id=5).select("price", "stock").row(0) == (777.0, 888.0)
                assert "5" in listed(client)

    def test_rows_of_an_older_store_are_read(self, serve: Any, shop: Path, store: Store):
        """Whole rows with times as polars writes them, and keys of removals as given."""
        row = {"item_id": 5, "price": 7.0, "stock": 1.0, "released": "2021-01-01", "seen_at": None, "length": "PT3600.000005S"}
        store.put_items([ItemChange(item="5", columns=row), ItemChange(item="012", columns=None)])
        with serve(shop) as client:
            shown_row = items_of(client).filter(item_id=5).row(0, named=True)
            assert (shown_row["released"], shown_row["length"]) == (dt.date(2021, 1, 1), dt.timedelta(hours=1, microseconds=5))
            assert "12" not in listed(client)
            put(client, item_id=12)
            assert "12" in listed(client)


class TestTakenAway:
    def test_by_another_spelling_of_the_key_an_item_comes_back_by_its_own(self, client: TestClient):
        assert client.delete("/items/005").status_code == 204
        assert "5" not in listed(client)
        assert put(client, item_id="5").status_code == 200
        assert "5" in listed(client)

    def test_items_are_not_among_the_similar(self, client: TestClient):
        asked = {"item": "19", "k": 100}
        before = [item["item"] for item in client.post("/similar", json=asked).json()["items"]]
        client.delete(f"/items/{before[0]}")
        assert [item["item"] for item in client.post("/similar", json=asked).json()["items"]] == before[1:]


class TestMisfits:
    def test_what_does_not_fit_another_version_is_refused_and_not_stored(
        self, serve: Any, shop: Path, texts: Path, tmp_path: Path, store: Store
    ):
        publish(texts, tmp_path / "models")
        publish(shop, tmp_path / "models", split=0.1)
        with serve(tmp_path / "models") as client:
            answer = put(client, item_id="abc")
            assert answer.status_code == 409
            assert f"version '{version_of(shop)}': column 'item_id' of items" in answer.json()["error"]
            assert store.items_since(0) == []
            assert put(client, item_id="12").status_code == 200

    def test_what_a_feature_cannot_read_is_refused_and_not_stored(
        self, serve: Any, ratings: pl.DataFrame, tmp_path: Path, store: Store
    ):
        items = pl.DataFrame({"item_id": NUMBERS, "look": [[0.5, 1.0]] * 60})
        spec = SPEC.replace(item=(SPEC.item[0], Vector(name="look", width=4)))
        with serve(spec.fit(Tables(ratings, items=items), progress=False).save(tmp_path / "looks")) as client:
            answer = put(client, item_id=5, look=[1.0, 2.0, 3.0])
            assert answer.status_code == 409
            assert "'look'" in answer.json()["error"]
            assert store.items_since(0) == []

    def test_one_in_the_store_is_left_out_and_told_and_all_others_count(
        self, serve: Any, shop: Path, texts: Path, tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
    ):
        good = [ItemChange(item=f"{number}", columns={"item_id": number, "price": -1.0}) for number in range(1000, 1020)]
        bad = [
            ItemChange(item="abc", columns={"item_id": "abc", "price": -1.0}),
            ItemChange(item="7777", columns={"item_id": 7777, "released": "soon"}),
            ItemChange(item="7778", columns={"item_id": 7778, "price": "much"}),
        ]
        store.put_items([*good[:10], *bad, *good[10:]])
        publish(texts, tmp_path / "models")
        with serve(shop) as client:
            assert set(items_of(client).filter(pl.col("price") == -1.0)["item_id"]) == set(range(1000, 1020))
            left_out = [record for record in caplog.records if "does not fit and is left out" in record.getMessage()]
            assert [record.args[1] for record in left_out] == ["abc", "7778", "7777"]  # type: ignore[index]
            caplog.clear()
            assert put(client, item_id=1000, stock=5.0).status_code == 200
            assert not caplog.records
            assert client.post("/recommend", json={"k": 3}).status_code == 200

    def test_a_key_that_no_store_keeps_is_refused(self, serve: Any, texts: Path):
        with serve(texts) as client:
            answer = put(client, item_id="x" * 257)
            assert answer.status_code == 409
            assert "at most 256 characters" in answer.json()["error"]


def test_the_watch_goes_on_after_a_turn_that_failed(caplog: pytest.LogCaptureFixture):
    class Failing:
        turns = 0

        def refresh(self) -> bool:
            self.turns += 1
            raise RuntimeError("a fault of its own")

    async def watch(router: Any) -> None:
        watching = asyncio.create_task(_watch(router, Metrics(), 0.001))
        while router.turns < 3:
            assert not watching.done()
            await asyncio.sleep(0.001)
        watching.cancel()

    with caplog.at_level(logging.ERROR):
        asyncio.run(watch(Failing()))
    assert "a fault of its own" in caplog.text


def test_milliseconds_are_refused(ratings: pl.DataFrame):
    fitted = SPEC.replace(time="timestamp").fit(
        ratings.with_columns(price=pl.lit(1.0), stock=pl.lit(1.0), timestamp=(pl.col("timestamp") + 1_700_000_000) * 1000),
        progress=False,
    )
    with pytest.raises(ValueError, match=r"column 'timestamp': expected seconds since 1970.*Divide by 1000"):
        Slot("v", fitted)
