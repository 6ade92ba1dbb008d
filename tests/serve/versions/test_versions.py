"""Versions side by side, and how one takes another's place while requests go on."""

import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from polyrec import Fitted, UserError
from polyrec.cli.app import app
from polyrec.serve.stores.opening import open_store
from polyrec.serve.versions.versions import KEPT, Models, Pointer, point, publish, read_pointer, version_of


@pytest.fixture(scope="session")
def others(served: Fitted, world: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return further artifacts of the same declaration, of other seeds."""
    folder = tmp_path_factory.mktemp("others")
    artifacts = []
    for seed in (1, 2, 3):
        spec = served.spec.replace(training=served.spec.training.replace(seed=seed, epochs=1))
        artifacts.append(spec.fit(world.head(1500), progress=False).save(folder / f"{seed}"))
    return artifacts


@pytest.fixture
def models(artifact: Path, tmp_path: Path) -> Path:
    publish(artifact, tmp_path / "models")
    return tmp_path / "models"


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def model_of(client: TestClient, user: str = "101") -> str:
    version: str = client.post("/recommend", json={"user": user, "k": 2}).json()["model"]
    return version


class TestPublishing:
    def test_makes_a_version_of_the_artifact_and_points_to_it(self, artifact: Path, models: Path):
        assert read_pointer(models) == Pointer(current=version_of(artifact))
        assert Fitted.load(Models(models).path(version_of(artifact))).items.height == 60
        assert publish(artifact, models) == version_of(artifact)

    def test_keeps_three_versions_and_those_that_are_pointed_to(self, artifact: Path, others: list[Path], models: Path):
        first = version_of(artifact)
        for other in others:
            publish(other, models)
        kept = {path.name for path in (models / "versions").iterdir()}
        assert kept == {version_of(other) for other in others}
        assert first not in kept
        publish(artifact, models, split=0.2)
        kept = {path.name for path in (models / "versions").iterdir()}
        assert len(kept) == KEPT
        assert {first, version_of(others[-1])} <= kept

    def test_of_what_is_broken_changes_nothing(self, others: list[Path], models: Path, tmp_path: Path):
        before = (models / "current.json").read_bytes()
        broken = shutil.copytree(others[0], tmp_path / "broken")
        content = (broken / "weights.safetensors").read_bytes()
        (broken / "weights.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match="as it was written"):
            publish(broken, models)
        assert (models / "current.json").read_bytes() == before

    def test_leaves_what_another_is_copying(self, others: list[Path], models: Path):
        unfinished = models / "versions" / ".0123456789ab.x7"
        unfinished.mkdir()
        os.utime(unfinished, (0, 0))
        for other in others:
            publish(other, models)
        assert unfinished.is_dir()

    def test_with_shares_that_leave_nobody_is_refused_before_it_is_copied(self, others: list[Path], models: Path):
        publish(others[0], models, split=0.6)
        before = (models / "current.json").read_bytes()
        with pytest.raises(UserError, match=r"shares of versions: expected a sum of less than 1, found 1\.1\. Give a smaller"):
            publish(others[1], models, split=0.5)
        assert not (models / "versions" / version_of(others[1])).exists()
        assert (models / "current.json").read_bytes() == before
        publish(others[0], models, split=0.9)

    def test_by_the_command(self, artifact: Path, others: list[Path], tmp_path: Path):
        folder = tmp_path / "models"
        assert CliRunner().invoke(app, ["publish", str(artifact), str(folder)]).exit_code == 0
        result = CliRunner().invoke(app, ["publish", str(others[0]), str(folder), "--split", "0.1", "--json"])
        pointer = json.loads(result.stdout)["pointer"]
        assert pointer["split"] == {version_of(others[0]): 0.1}
        assert pointer["current"] == version_of(artifact)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            '{"current": "../../x"}',
            '{"current": "none"}',
            '{"current": "a", "split": {"b": 1.5}}',
            '{"curent": "a"}',
        ],
    )
    def test_a_pointer_that_is_none_is_refused(self, models: Path, text: str):
        (models / "current.json").write_text(text)
        with pytest.raises(UserError, match="pointer"):
            read_pointer(models)


class TestServing:
    def test_another_version_answers_soon_after_it_was_published(
        self, serve: Any, artifact: Path, others: list[Path], models: Path
    ):
        with serve(models, every=0.1) as client:
            assert model_of(client) == version_of(artifact)
            publish(others[0], models)
            until(lambda: model_of(client) == version_of(others[0]))
            expected = Fitted.load(others[0]).recommend(user_id=101, k=2)["score"].to_list()
            answer = client.post("/recommend", json={"user": "101", "k": 2}).json()
            assert [item["score"] for item in answer["items"]] == expected

    def test_no_request_fails_while_versions_change(self, serve: Any, others: list[Path], models: Path):
        statuses: Counter[int] = Counter()
        versions: set[str] = set()
        stop = threading.Event()
        with serve(models, every=0.05, waiting=1000, patience=60) as client:

            def ask(user: int) -> None:
                while not stop.is_set():
                    answer = client.post("/recommend", json={"user": str(user), "k": 3})
                    statuses[answer.status_code] += 1
                    versions.add(answer.json().get("model", answer.text))

            threads = [threading.Thread(target=ask, args=(user,)) for user in (101, 102, 103)]
            for thread in threads:
                thread.start()
            for other in others:
                publish(other, models)
                until(lambda other=other: version_of(other) in versions)
            stop.set()
            for thread in threads:
                thread.join()
        assert set(statuses) == {200}
        assert statuses[200] > 20
        assert len(versions) == 4

    @pytest.mark.parametrize("how", ["corrupt", "another item", "no weights", "pointer"])
    def test_what_cannot_serve_is_refused_and_the_others_go_on(
        self, serve: Any, artifact: Path, others: list[Path], models: Path, how: str
    ):
        with serve(models, every=0.05) as client:
            name = version_of(others[0])
            place = models / "versions" / name
            shutil.copytree(others[0], place)
            if how == "corrupt":
                content = bytearray((place / "weights.safetensors").read_bytes())
                content[-5] ^= 0xFF
                (place / "weights.safetensors").write_bytes(bytes(content))
            elif how == "another item":
                (place / "state" / "items.parquet").write_bytes(b"PAR1")
            elif how == "no weights":
                (place / "weights.safetensors").unlink()
            pointer = models / "current.json"
            pointer.write_text('{"current": ' if how == "pointer" else json.dumps({"current": name}))
            until(lambda: client.get("/model").json()["refused"] is not None)
            assert model_of(client) == version_of(artifact)
            assert "polyrec_version_refused 1.0" in client.get("/metrics").text
            shutil.rmtree(place)
            publish(others[0], models) if how != "pointer" else point_back(models, others[0])
            until(lambda: model_of(client) == name)
            assert client.get("/model").json()["refused"] is None

    def test_shares_are_kept_to_and_a_user_stays_with_a_version(
        self, serve: Any, artifact: Path, others: list[Path], models: Path
    ):
        publish(others[0], models, split=0.3)
        with serve(models) as client:
            answered_by = {user: model_of(client, f"user {user}") for user in range(400)}
            again = {user: model_of(client, f"user {user}") for user in range(40)}
        assert all(answered_by[user] == model for user, model in again.items())
        share = sum(model == version_of(others[0]) for model in answered_by.values()) / len(answered_by)
        assert 0.22 < share < 0.38
        assert set(answered_by.values()) == {version_of(artifact), version_of(others[0])}

    @pytest.mark.parametrize("current", ["numbers", "texts"])
    def test_of_other_kinds_of_keys_agree_about_who_was_erased(
        self, serve: Any, served: Fitted, world: pl.DataFrame, tmp_path: Path, current: str
    ):
        spec = served.spec.replace(training=served.spec.training.replace(epochs=1))
        rows = world.head(1500)
        texts = rows.with_columns(user_id=pl.format("0{}", "user_id"))
        fitted = {"numbers": spec.fit(rows, progress=False), "texts": spec.fit(texts, progress=False)}
        other = next(name for name in fitted if name != current)
        models = tmp_path / "models"
        publish(fitted[current].save(tmp_path / "current"), models)
        publish(fitted[other].save(tmp_path / "other"), models, split=0.5)
        with serve(models) as client:
            shown = set()
            for user in map(str, range(100, 140)):
                client.delete(f"/users/{user}")
                for alias in (user, f"0{user}", f"+{user}"):
                    answer = client.get(f"/users/{alias}").json()
                    assert answer["erased"] is (current == "numbers" or alias == user)
                    shown |= {alias[:1]} if answer["history"] else set()
        assert shown == ({"0"} if current == "texts" else set())

    def test_a_version_in_the_shadow_makes_lists_that_nobody_sees(
        self, serve: Any, artifact: Path, others: list[Path], models: Path, tmp_path: Path
    ):
        publish(others[0], models, shadow=True)
        with serve(models) as client:
            for _ in range(5):
                assert model_of(client) == version_of(artifact)
                time.sleep(0.2)
        with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
            lists, _ = store.lists_since(0)
        by_model = Counter(served_list.model for served_list in lists)
        assert by_model[version_of(artifact)] == 5
        assert by_model[version_of(others[0])] >= 1
        shadow = next(served_list for served_list in lists if served_list.model == version_of(others[0]))
        assert shadow.request.split("-")[0] in {served_list.request for served_list in lists}

    def test_every_version_in_the_shadow_is_asked(
        self, serve: Any, artifact: Path, others: list[Path], models: Path, tmp_path: Path
    ):
        publish(others[0], models, shadow=True)
        publish(others[1], models, shadow=True)
        with serve(models) as client, open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
            request = client.post("/recommend", json={"user": "101", "k": 2}).json()["request"]
            until(lambda: len(store.lists_since(0)[0]) == 3)
            lists, _ = store.lists_since(0)
        names = {f"{request}-{version_of(other)}" for other in others[:2]}
        assert {served_list.request: served_list.shown for served_list in lists} == {
            request: True,
            **dict.fromkeys(names, False),
        }

    def test_items_added_before_are_known_to_a_version_that_comes_later(self, serve: Any, others: list[Path], models: Path):
        with serve(models, every=0.05) as client:
            client.post("/items", json={"items": [{"item_id": 99999}]})
            publish(others[0], models)
            until(lambda: client.get("/model").json()["model"] == version_of(others[0]))
            assert client.get("/model").json()["items"] == 61


def point_back(models: Path, artifact: Path) -> None:
    shutil.copytree(artifact, models / "versions" / version_of(artifact))
    point(models, Pointer(current=version_of(artifact)))


class TestFolders:
    def test_a_folder_with_an_artifact_in_it_is_served(self, artifact: Path, tmp_path: Path):
        shutil.copytree(artifact, tmp_path / "demo" / "artifact")
        assert Models(tmp_path / "demo").pointer() == Pointer(current=version_of(artifact))

    def test_another_is_refused(self, tmp_path: Path):
        with pytest.raises(UserError, match="expected an artifact or published models"):
            Models(tmp_path)


def test_a_key_is_told_once_and_its_hash_is_for_the_file(tmp_path: Path):
    from polyrec.serve.gate.keys import read_keys

    output = CliRunner().invoke(app, ["key", "shop", "--scope", "read", "--scope", "write"]).stdout
    made = output.splitlines()[0].split(": ")[1]
    path = tmp_path / "keys.yaml"
    path.write_text(output.splitlines()[-1])
    key = read_keys(path).of(made)
    assert key is not None
    assert (key.name, key.scopes) == ("shop", ("read", "write"))
