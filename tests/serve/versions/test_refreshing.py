"""Rows come later: the new version is published where it is no worse on the newest of them, and not where it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from polyrec import Binary, Categorical, Fitted, History, Numeric, Recommender, Tables, Training, UserError
from polyrec.artifact.parts import start_hash
from polyrec.cli.app import app
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event
from polyrec.serve.versions.refreshing import refresh
from polyrec.serve.versions.slot import Slot
from polyrec.serve.versions.versions import VERSIONS, publish, read_pointer

SPEC = Recommender(
    user=(Categorical(name="user_id", width=4),),
    item=(Categorical(name="item_id", width=4),),
    tasks=(Binary(name="like", label="liked", tower=()),),
    training=Training(epochs=8, batch_size=128, learning_rate=0.01),
)


def rows(start: int, count: int, taste: int) -> pl.DataFrame:
    """Return ratings: which half of the items is liked is a matter of taste."""
    generator = np.random.default_rng(start)
    item = generator.integers(40, size=count)
    liked = generator.random(count) < np.where((item % 2 == taste), 0.9, 0.1)
    times = np.arange(start, start + count)
    return pl.DataFrame({"user_id": generator.integers(30, size=count), "item_id": item, "liked": liked, "timestamp": times})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    fitted = SPEC.fit(rows(0, 1500, taste=0), progress=False)
    publish(fitted.save(tmp_path / "first"), tmp_path / "models")
    return tmp_path / "models"


def test_what_learned_the_new_taste_is_published(models: Path):
    before = read_pointer(models).current
    table = pl.concat([rows(0, 1500, taste=0), rows(1500, 6000, taste=1)])
    refreshed = refresh(models, table, progress=False)
    assert refreshed.rows == 3000
    (change,) = refreshed.changes
    assert (change.task, change.metric) == ("like", "auc")
    assert change.before < 0.4 < 0.6 < change.after
    assert change.after - change.before >= change.low > 0
    assert refreshed.version == read_pointer(models).current != before
    assert Fitted.load(models / VERSIONS / str(refreshed.version)).catalogue.log.frame.height == 4500


def test_what_is_worse_is_not_published(models: Path, tmp_path: Path):
    before = read_pointer(models)
    table = pl.concat([rows(0, 1500, taste=0), rows(1500, 3000, taste=1), rows(4500, 3000, taste=0)])
    table.write_parquet(tmp_path / "table.parquet")
    done = CliRunner().invoke(app, ["refresh", str(models), "--data", f"{tmp_path}/table.parquet", "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert (report["version"], report["reason"]) == (None, "a task is worse on the newest rows")
    assert report["changes"][0]["after"] < report["changes"][0]["before"]
    assert read_pointer(models) == before


def test_what_cannot_be_judged_is_not_published(models: Path, tmp_path: Path):
    before = read_pointer(models)
    later = rows(1500, 1000, taste=0).with_columns(liked=pl.when(pl.col("timestamp") < 2000).then("liked").otherwise(True))
    pl.concat([rows(0, 1500, taste=0), later]).write_parquet(tmp_path / "table.parquet")
    command = ["refresh", str(models), "--data", f"{tmp_path}/table.parquet"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert (report["version"], report["reason"]) == (None, "no task could be judged on the newest rows")
    assert report["changes"][0]["low"] is None
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "Not published, for no task could be judged on the newest rows." in " ".join(done.stdout.split())
    assert read_pointer(models) == before


class TestGoingOn:
    def test_it_goes_on_from_the_current_weights_for_a_quarter_of_the_epochs(self, models: Path):
        before = read_pointer(models).current
        later = rows(1500, 2000, taste=0).with_columns(user_id=pl.col("user_id") + 10)
        refreshed = refresh(models, pl.concat([rows(0, 1500, taste=0), later]), progress=False)
        fitted = Fitted.load(models / VERSIONS / str(refreshed.version))
        facts = fitted.parts.facts.training
        assert facts["start"] == start_hash(Fitted.load(models / VERSIONS / before).parts)
        assert facts["spec"]["epochs"] == 2 and fitted.spec == SPEC
        assert fitted.parts.facts.data.training_rows == 1500 + 900
        assert fitted.catalogue.users.keys.find([35]) != [None]

    def test_from_scratch_it_does_not(self, models: Path):
        table = pl.concat([rows(0, 1500, taste=0), rows(1500, 2000, taste=0)])
        refreshed = refresh(models, table, from_scratch=True, epochs=3, progress=False)
        facts = Fitted.load(models / VERSIONS / str(refreshed.version)).parts.facts
        assert facts["training"]["start"] is None
        assert facts["training"]["spec"]["epochs"] == 3 and facts["data"]["training_rows"] == 2250

    def test_side_tables_are_joined_once(self, tmp_path: Path):
        items = pl.DataFrame({"item_id": range(40), "price": [float(number) for number in range(40)]})
        spec = SPEC.replace(item=(*SPEC.item, Numeric(name="price", width=4)))
        fitted = spec.fit(Tables(rows(0, 1500, taste=0), items=items), progress=False)
        publish(fitted.save(tmp_path / "first"), tmp_path / "models")
        table = Tables(pl.concat([rows(0, 1500, taste=0), rows(1500, 2000, taste=0)]), items=items)
        results = [refresh(tmp_path / "models", table, from_scratch=anew, epochs=2, progress=False) for anew in (False, True)]
        assert [result.rows for result in results] == [1000, 500]


class TestFromAStore:
    @pytest.mark.slow
    def test_events_told_to_a_server_are_learned_and_it_answers_by_what_was_learned(
        self, tmp_path: Path, start: Callable[..., Any]
    ):
        liked = History(name="liked_items", of="item_id", where="liked", length=5, width=4)
        spec = SPEC.replace(user=(*SPEC.user, liked))
        publish(spec.fit(rows(0, 1500, taste=0), progress=False).save(tmp_path / "first"), tmp_path / "models")
        store = f"sqlite:///{tmp_path}/events.sqlite"
        server = start(tmp_path / "models", "--store", store)
        later = rows(1500, 3000, taste=1).with_columns(user_id=pl.col("user_id") + 5)
        for part in later.iter_slices(1000):
            events = [
                {"id": f"{at}", "user": f"{u}", "item": f"{i}", "type": "rate", "time": at, "values": {"liked": liked}}
                for u, i, liked, at in part.iter_rows()
            ]
            assert httpx.post(f"{server.url}/events", json={"events": events}).status_code == 202
        before = httpx.get(f"{server.url}/model").json()["model"]
        command = ["refresh", str(tmp_path / "models"), "--store", store, "--epochs", "4", "--json"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout[done.stdout.index("{") :])
        assert report["rows"] == 1500 and report["changes"][0]["after"] > report["changes"][0]["before"] + 0.2
        assert httpx.post(f"{server.url}/reload").json()["model"] == report["version"] != before
        fitted = Fitted.load(tmp_path / "models" / VERSIONS / report["version"])
        assert fitted.catalogue.log.frame.height == 1500 + 1500
        with open_store(store) as kept:
            for user in (17, 34):
                events = Slot(report["version"], fitted).events_frame(kept.history(str(user), 200))
                expected = fitted.recommend(k=5, user_id=user, events=events, exclude_seen=False)
                asked = {"user": str(user), "k": 5, "exclude_seen": False}
                answer = httpx.post(f"{server.url}/recommend", json=asked).json()
                assert answer["model"] == report["version"] and answer["fallback"] == []
                assert [item["item"] for item in answer["items"]] == expected["item_id"].cast(pl.String).to_list()
                assert [item["score"] for item in answer["items"]] == expected["score"].to_list()
                assert sum(int(item["item"]) % 2 for item in answer["items"]) >= 4

    def test_a_table_and_a_store_are_one(self, models: Path, tmp_path: Path):
        later = rows(1500, 1000, taste=0)
        with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
            store.append(
                [
                    Event(id=f"{at}", user=f"{u}", item=f"{i}", type="rate", time=at, values={"liked": liked})
                    for u, i, liked, at in later.tail(900).iter_rows()
                ]
            )
            refreshed = refresh(models, pl.concat([rows(0, 1500, taste=0), later.head(200)]), store=store, progress=False)
        assert refreshed.rows == 500

    def test_without_rows_it_is_refused(self, models: Path, tmp_path: Path):
        with pytest.raises(UserError, match="expected rows to learn from, found none"):
            refresh(models)
        with open_store(f"sqlite:///{tmp_path}/e.sqlite") as store, pytest.raises(UserError, match="no column 'liked'"):
            refresh(models, store=store)


def test_a_table_that_did_not_go_on_is_refused(models: Path):
    with pytest.raises(UserError, match="new rows: expected 100 or more, later than all known ones, found 0"):
        refresh(models, rows(0, 1500, taste=0), progress=False)
