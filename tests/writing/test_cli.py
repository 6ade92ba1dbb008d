"""`polyrec write`: what it prints, writes and ends with."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from polyrec import ItemTags, Tables, UserProfiles
from polyrec.cli.app import main
from polyrec.data.tables import join

FILMS = pl.DataFrame({"item_id": [5, 12, 7], "title": ["Toy Story", "Heat", "Sabrina"]})
ANSWER = {"mood": {"type": "string", "enum": ["dark", "light"]}}


@pytest.fixture
def write(server, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command on tags.yaml and films.parquet, writing tags.parquet."""
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path / "cache"))
    chat = {"url": f"{server.front}/v1", "model": "smol", "max_tokens": 20, "input_price": 1, "output_price": 2, "in_flight": 1}
    spec = ItemTags(chat=chat, template="{{ title }}", answer=ANSWER)
    spec.to_yaml(tmp_path / "tags.yaml")
    FILMS.write_parquet(tmp_path / "films.parquet")
    small.to_yaml(tmp_path / "recommender.yaml")

    def run(*options: object, code: int = 0) -> tuple[str, str]:
        files = [tmp_path / "tags.yaml", "--data", tmp_path / "films.parquet", "--out", tmp_path / "tags.parquet"]
        monkeypatch.setattr(sys, "argv", ["polyrec", "write", *map(str, files), *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        return capsys.readouterr()

    run.spec, run.folder = spec, tmp_path
    return run


def test_a_dry_run_says_what_it_would_cost_and_sends_nothing(write, server):
    result = json.loads(write("--dry-run", "--json").out)
    assert (result["rows"], result["requests"], result["output_tokens"]) == (3, 3, 60)
    assert result["cost"] == pytest.approx((result["input_tokens"] + 2 * 60) / 1e6)
    shown = write("--dry-run").out
    assert "3 requests to send" in shown
    assert "four characters a token" in shown
    assert "<data>\nToy Story\n</data>" in shown
    assert server.log() == []
    assert not (write.folder / "tags.parquet").exists()


def test_the_table_joins_the_interactions(write, server):
    result = json.loads(write("--json").out)
    assert (result["rows"], result["requests"], result["failed"], result["left"], result["stopped"]) == (3, 3, 0, 0, "")
    assert result["input_tokens"] > 0
    rows = pl.DataFrame({"item_id": [7, 5], "user_id": [1, 2]})
    wide = join(Tables(rows, items=write.folder / "tags.parquet"), None, "item_id").frame
    assert set(wide["mood"]) <= {"dark", "light"}
    server.forget()
    assert "Wrote 3 of 3 rows" in write("--quiet").out
    assert server.log() == []


def test_a_budget_that_ends_a_run_ends_it_with_code_3(write):
    most = write.spec.chat.most_with_repair(write.spec.estimate(FILMS).first).total
    write.spec.replace(token_budget=most + 100).to_yaml(write.folder / "tags.yaml")
    done = write("--quiet", code=3)
    assert "Stopped by `token_budget`" in done.err
    assert 0 < pl.read_parquet(write.folder / "tags.parquet").height < 3


def test_a_label_of_the_recommender_is_refused(write):
    FILMS.with_columns(rating=3).write_parquet(write.folder / "films.parquet")
    write.spec.replace(template="{{ title }} {{ rating }}").to_yaml(write.folder / "tags.yaml")
    done = write("--for", write.folder / "recommender.yaml", code=2)
    assert "expected columns known before the labels, found 'rating', of a label" in done.err


def test_a_server_that_is_down_leaves_no_file(write):
    down = {**write.spec.chat.model_dump(), "url": "http://127.0.0.1:9/v1", "retries": 0}
    write.spec.replace(chat=down).to_yaml(write.folder / "tags.yaml")
    done = write("--quiet", code=2)
    assert "expected a server that answers, found no connection" in done.err
    assert not (write.folder / "tags.parquet").exists()


def test_profiles_of_users_make_a_user_table(write, server):
    rows = pl.DataFrame({"user_id": [1, 1, 2], "title": ["Heat", "Alien", "Babe"], "timestamp": [1, 2, 3]})
    rows.write_parquet(write.folder / "films.parquet")
    chat = write.spec.chat
    UserProfiles(chat=chat, history=("title",), before=3, answer=ANSWER).to_yaml(write.folder / "tags.yaml")
    write("--quiet")
    assert pl.read_parquet(write.folder / "tags.parquet").drop("mood").rows() == [(1, 2)]
