"""A table goes on: the new version is published where it is no worse on the newest rows, and not where it is."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from polyrec import Binary, Categorical, Fitted, Recommender, Training, UserError
from polyrec.cli.app import app
from polyrec.serve.refreshing import refresh
from polyrec.serve.versions import VERSIONS, publish, read_pointer

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
    found = refresh(models, table, progress=False)
    assert found.rows == 3000
    (change,) = found.changes
    assert (change.task, change.metric) == ("like", "auc")
    assert change.before < 0.4 < 0.6 < change.after
    assert change.after - change.before >= change.low > 0
    assert found.version == read_pointer(models).current != before
    assert Fitted.load(models / VERSIONS / str(found.version)).catalogue.log.frame.height == 4500


def test_what_is_worse_is_not_published(models: Path, tmp_path: Path):
    before = read_pointer(models)
    table = pl.concat([rows(0, 1500, taste=0), rows(1500, 3000, taste=1), rows(4500, 3000, taste=0)])
    table.write_parquet(tmp_path / "table.parquet")
    done = CliRunner().invoke(app, ["refresh", str(models), "--data", f"{tmp_path}/table.parquet", "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["version"] is None
    assert told["changes"][0]["after"] < told["changes"][0]["before"]
    assert read_pointer(models) == before


def test_a_table_that_did_not_go_on_is_refused(models: Path):
    with pytest.raises(UserError, match="new rows: expected 100 or more, later than all known ones, found 0"):
        refresh(models, rows(0, 1500, taste=0), progress=False)
