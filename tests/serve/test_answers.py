"""What the server answers is what the recommender says offline, bit for bit, before events and after them."""

import datetime
import random
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from polyrec import Binary, Categorical, Concat, Fitted, Multiclass, Multiply, Personal, Recommender, Training
from polyrec.fusion.fusion import Fusion
from polyrec.rules.epsilon_greedy import EpsilonGreedy
from polyrec.serve.api.messages import RecommendRequest
from polyrec.serve.api.service import Service
from polyrec.serve.stores.opening import open_store


def asked(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code in (200, 202), answer.text
    document: dict[str, Any] = answer.json()
    return document


def rate(client: TestClient, user: int | str, item: int, rating: float, second: int, **others: Any) -> dict[str, Any]:
    event = {"id": uuid.uuid4().hex, "user": str(user), "item": str(item), "type": "rate", "time": second}
    return asked(client, "/events", events=[{**event, "values": {"rating": rating}, **others}])


def same(answer: dict[str, Any], frame: pl.DataFrame) -> None:
    """Hold an answer against what `recommend` returned: items, scores and predictions, bit for bit."""
    assert [item["item"] for item in answer["items"]] == frame["item_id"].cast(pl.String).to_list()
    assert [item["score"] for item in answer["items"]] == frame["score"].to_list()
    for task in ("like", "stars", "interest.comedy", "interest.drama", "interest.war"):
        assert [item["tasks"][task] for item in answer["items"]] == frame[task].cast(pl.Float64).to_list()


@pytest.mark.slow
def test_a_thousand_requests_are_answered_as_offline(client: TestClient, served: Fitted):
    generator = random.Random(0)
    for _ in range(1000):
        user = generator.choice([*range(100, 180), 7, None])
        given: dict[str, Any] = {} if user is None else {"user_id": user}
        features = {"age": float(generator.randint(18, 80))} if generator.random() < 0.3 else {}
        options: dict[str, Any] = {"k": generator.randint(1, 70), "exclude_seen": generator.random() < 0.7}
        if generator.random() < 0.2:
            options["where"] = f"item_id % {generator.randint(2, 4)} = 0"
        if generator.random() < 0.3:
            options["weights"] = {"like": generator.uniform(0, 3)}
        body = {**options, "user": None if user is None else str(user), "features": features}
        same(asked(client, "/recommend", **body), served.recommend(**options, **given, **features))


class TestFusionsThatReadMore:
    @pytest.mark.parametrize(
        "fusion",
        [
            Concat(target={"like": 1.0, "stars": 0.5}, states="all"),
            Personal(of=Multiply(powers={"like": 1.0, "stars": 0.5}), by=("user_id", "age", "liked")),
        ],
    )
    def test_are_answered_as_offline(self, serve: Any, fusion: Fusion, world: pl.DataFrame, small: Recommender, tmp_path: Path):
        spec = small.replace(fusion=fusion, training=small.training.replace(epochs=1))
        read = spec.fit(world.head(3000), progress=False)
        generator = random.Random(2)
        names = list(read.spec.fusion.weights_among(["like", "stars"]))
        with serve(read.save(tmp_path / "artifact")) as client:
            model = client.get("/model").json()
            assert [*model["weights"]] == names
            for _ in range(60):
                user = generator.choice([*range(100, 180), 7])
                options: dict[str, Any] = {"k": generator.randint(1, 70), "exclude_seen": generator.random() < 0.7}
                if names and generator.random() < 0.5:
                    options["weights"] = {"like": generator.uniform(0, 3)}
                same(asked(client, "/recommend", user=str(user), **options), read.recommend(user_id=user, **options))
            rate(client, 101, 12, 5, 6000)
            events = pl.DataFrame({"item_id": [12], "rating": [5], "timestamp": [6000]})
            same(asked(client, "/recommend", user="101", k=70), read.recommend(user_id=101, k=70, events=events))
            few = read.items["item_id"][:3].to_list()
            answer = asked(client, "/score", user="7", items=[str(item) for item in few])
            assert [item["score"] for item in answer["items"]] == read.score(7, few).tolist()


class TestEvents:
    def test_the_next_list_is_that_of_a_fresh_computation(self, client: TestClient, served: Fitted):
        generator = random.Random(1)
        sent: dict[int, list[dict[str, Any]]] = {}
        for turn in range(60):
            user, item = generator.choice([101, 102, -5]), generator.choice(served.items["item_id"].to_list())
            rating = generator.randint(1, 5)
            rate(client, user, item, rating, 5000 + turn)
            sent.setdefault(user, []).append({"item_id": item, "rating": rating, "timestamp": 5000 + turn})
            fresh = Fitted(served.parts, served.model)
            expected = fresh.recommend(user_id=user, k=10, events=pl.DataFrame(sent[user]))
            same(asked(client, "/recommend", user=str(user), k=10), expected)

    def test_come_once_however_often_they_are_sent(self, client: TestClient):
        first = rate(client, 101, 5, 5, 5000, id="e1")
        again = rate(client, 101, 5, 5, 5000, id="e1")
        assert (first["new"], again["new"]) == (1, 0)
        assert first["accepted"] == again["accepted"] == 1
        assert len([event for event in client.get("/users/101").json()["history"] if event["source"] == "live"]) == 1

    def test_of_a_value_that_does_not_fit_are_refused_whole(self, client: TestClient):
        good = {"id": "a", "user": "101", "item": "5", "type": "rate", "time": 1, "values": {"rating": 5}}
        answer = client.post("/events", json={"events": [good, {**good, "id": "b", "values": {"rating": "good"}}]})
        assert answer.status_code == 409
        assert "value 'rating' of the event 'b'" in answer.json()["error"]
        assert rate(client, 101, 5, 5, 1, id="a")["new"] == 1

    @pytest.mark.parametrize("time", [-2.5e89, -62_135_596_801, 253_402_300_800, 1e300])
    def test_of_a_time_that_no_calendar_has_are_refused(self, client: TestClient, time: float):
        event = {"id": f"far-{time}", "user": "far", "item": "1", "type": "view", "time": time}
        answer = client.post("/events", json={"events": [event]})
        assert answer.status_code == 422
        assert "time" in answer.json()["error"]

    @pytest.mark.parametrize("time", [-62_135_596_800, 253_402_300_799])
    def test_of_the_first_and_the_last_time_count(self, client: TestClient, served: Fitted, time: float):
        user = f"edge-{time}"
        event = {"id": user, "user": user, "item": str(served.items[served.item_key][0]), "type": "view", "time": time}
        assert client.post("/events", json={"events": [event]}).status_code == 202
        assert client.post("/recommend", json={"user": user}).status_code == 200

    def test_of_a_fraction_for_a_whole_number_are_refused(self, client: TestClient):
        event = {"id": "f", "user": "101", "item": "5", "type": "rate", "time": 1, "values": {"rating": 4.7}}
        answer = client.post("/events", json={"events": [event]})
        assert answer.status_code == 409
        assert "value 'rating' of the event 'f': expected a value of type Int64, found 4.7" in answer.json()["error"]

    def test_of_a_text_for_a_boolean_are_refused(self, serve: Any, world: pl.DataFrame, small: Recommender, tmp_path: Path):
        (*others, liked) = small.user
        spec = small.replace(user=(*others, liked.replace(where="good")), training=small.training.replace(epochs=1))
        rows = world.head(600).with_columns(good=pl.col("rating") >= 4)
        with serve(spec.fit(rows, progress=False).save(tmp_path / "artifact")) as client:
            event = {"id": "b", "user": "101", "item": "5", "type": "rate", "time": 5000, "values": {"good": "yes"}}
            answer = client.post("/events", json={"events": [event]})
            assert answer.status_code == 409
            assert "expected a value of type Boolean, found 'yes'" in answer.json()["error"]
            rate(client, 101, 5, 5, 5000, values={"good": True})

    def test_of_mixed_types_are_each_what_they_are(self, client: TestClient, served: Fitted):
        for second in range(5000, 5004):
            rate(client, 101, 12, 5, second)
        rate(client, 101, 19, 5, 5004, values={"rating": "5"})
        events = {"item_id": [12, 12, 12, 12, 19], "rating": [5] * 5, "timestamp": range(5000, 5005)}
        expected = served.recommend(user_id=101, k=5, events=pl.DataFrame(events))
        same(asked(client, "/recommend", user="101", k=5), expected)

    def test_of_other_columns_are_kept_for_the_next_training(self, client: TestClient):
        rate(client, -9, 5, 5, 5000, values={"seconds": 12.5})
        (event,) = client.get("/users/-9").json()["history"]
        assert event["columns"]["seconds"] == 12.5


class TestErasing:
    def test_takes_events_and_the_past_of_the_training(self, client: TestClient, served: Fitted):
        rate(client, 101, 5, 5, 5000)
        assert client.delete("/users/101").status_code == 204
        answer = asked(client, "/recommend", user="101", k=5)
        assert answer["fallback"] == ["erased user"]
        same(answer, served.recommend(k=5))
        user_answer = client.get("/users/101").json()
        assert (user_answer["erased"], user_answer["history"]) == (True, [])

    def test_later_events_count(self, client: TestClient, served: Fitted):
        client.delete("/users/101")
        rate(client, 101, 12, 5, 6000)
        events = pl.DataFrame({"item_id": [12], "rating": [5], "timestamp": [6000]})
        same(asked(client, "/recommend", user="101", k=5), served.recommend(k=5, events=events))

    @pytest.mark.parametrize("alias", ["0101", "+101"])
    def test_holds_however_the_key_is_written(self, client: TestClient, served: Fitted, alias: str):
        rate(client, alias, 5, 5, 5000)
        assert [event["source"] for event in client.get("/users/101").json()["history"]][:2] == ["live", "training"]
        assert client.delete("/users/101").status_code == 204
        assert client.get(f"/users/{alias}").json() == client.get("/users/101").json()
        assert client.get(f"/users/{alias}").json()["history"] == []
        for path, more in (("/recommend", {"k": 3}), ("/score", {"items": ["5"]}), ("/explain", {"item": "5"})):
            assert asked(client, path, user=alias, **more)["fallback"] == ["erased user"]
        same(asked(client, "/recommend", user=alias, k=5), served.recommend(k=5))

    @pytest.mark.parametrize("alias", ["0101", "+101"])
    def test_of_another_way_to_write_a_key_is_that_of_the_user(self, client: TestClient, alias: str):
        rate(client, 101, 5, 5, 5000)
        assert client.delete(f"/users/{alias}").status_code == 204
        user_answer = client.get("/users/101").json()
        assert (user_answer["erased"], user_answer["history"]) == (True, [])

    def test_of_keys_with_slashes(self, client: TestClient):
        for user, path in (("a/b", "a%2Fb"), ("a/b", "a/b"), ("/", "%2F")):
            rate(client, user, 5, 5, 5000)
            assert client.get(f"/users/{path}").json()["user"] == user
            assert len(client.get(f"/users/{path}").json()["history"]) == 1
            assert client.delete(f"/users/{path}").status_code == 204
            user_answer = client.get(f"/users/{path}").json()
            assert (user_answer["erased"], user_answer["history"]) == (True, [])

    def test_takes_the_key_from_those_that_are_offered(self, client: TestClient):
        offered = client.get("/users", params={"start": "10", "limit": 3}).json()["users"]
        client.delete(f"/users/{offered[1]}")
        left = client.get("/users", params={"start": "10", "limit": 3}).json()["users"]
        assert offered[1] not in left and len(left) == 3 and left[:2] == [offered[0], offered[2]]

    def test_takes_the_name_from_a_list_that_is_still_to_be_logged(self, serve: Any, artifact: Any, tmp_path: Path):
        with serve(artifact) as client:
            answer = asked(client, "/recommend", user="101", k=3)
            client.delete("/users/101")
        with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
            assert [(one.request, one.user) for one in store.lists_since(0)[0]] == [(answer["request"], None)]


class TestItems:
    def test_a_new_item_is_listed_at_once(self, client: TestClient, served: Fitted):
        assert asked(client, "/items", items=[{"item_id": 99999}]) == {"changed": 1, "items": 61}
        expected = served.with_items(pl.DataFrame({"item_id": [99999]}))
        answer = asked(client, "/recommend", user="101", k=100)
        same(answer, expected.recommend(user_id=101, k=100))
        assert "99999" in [item["item"] for item in answer["items"]]

    def test_an_item_taken_away_is_not_listed_until_it_comes_back(self, client: TestClient):
        listed = [item["item"] for item in asked(client, "/recommend", user="101", k=100)["items"]]
        assert client.delete(f"/items/{listed[0]}").status_code == 204
        assert [item["item"] for item in asked(client, "/recommend", user="101", k=100)["items"]] == listed[1:]
        asked(client, "/items", items=[{"item_id": int(listed[0])}])
        assert [item["item"] for item in asked(client, "/recommend", user="101", k=100)["items"]] == listed

    def test_of_a_key_with_a_slash_is_taken_away(self, world: pl.DataFrame, small: Any, serve: Any, tmp_path: Path):
        rows = world.head(600).with_columns(item_id=pl.format("x/{}", "item_id"))
        fitted = small.replace(training=small.training.replace(epochs=1)).fit(rows, progress=False)
        with serve(fitted.save(tmp_path / "slashes")) as client:
            listed = [item["item"] for item in asked(client, "/recommend", user="101", k=100)["items"]]
            assert client.delete(f"/items/{listed[0].replace('/', '%2F')}").status_code == 204
            assert [item["item"] for item in asked(client, "/recommend", user="101", k=100)["items"]] == listed[1:]

    def test_changes_outlive_the_server(self, serve: Any, artifact: Any):
        with serve(artifact) as client:
            asked(client, "/items", items=[{"item_id": 99999}])
        with serve(artifact) as client:
            assert client.get("/model").json()["items"] == 61

    def test_of_an_unknown_column_are_refused(self, client: TestClient):
        answer = client.post("/items", json={"items": [{"item_id": 1, "titel": "x"}]})
        assert answer.status_code == 409
        assert "column 'titel' of items" in answer.json()["error"]

    def test_like_one_are_the_nearest_by_their_vectors(self, client: TestClient, served: Fitted):
        answer = asked(client, "/similar", item="12", k=5)
        vectors = served.catalogue.unit_vectors(served.catalogue.rows(served.items["item_id"])).numpy()
        place = served.items["item_id"].to_list().index(12)
        cosines = vectors @ vectors[place]
        order = [row for row in np.argsort(-cosines, kind="stable") if row != place][:5]
        assert [item["item"] for item in answer["items"]] == [str(served.items["item_id"][int(row)]) for row in order]


class TestScores:
    def test_are_those_of_score(self, client: TestClient, served: Fitted):
        answer = asked(client, "/score", user="101", items=["12", "5", "19"])
        assert [item["score"] for item in answer["items"]] == served.score(101, [12, 5, 19]).tolist()

    def test_of_an_unknown_item_are_refused(self, client: TestClient):
        answer = client.post("/score", json={"user": "101", "items": ["nothing"]})
        assert answer.status_code == 404
        assert "item 'nothing'" in answer.json()["error"]

    def test_are_explained(self, client: TestClient, served: Fitted):
        answer = asked(client, "/explain", user="101", item="12")
        explained = answer["tasks"]["like"]
        scored = asked(client, "/score", user="101", items=["12"])["items"][0]["tasks"]["like"]
        assert explained["prediction"] == pytest.approx(scored, abs=1e-5)
        assert explained["baseline"] + sum(explained["contributions"].values()) == pytest.approx(
            explained["prediction"], abs=1e-2
        )


class TestChance:
    def test_a_seed_makes_a_list_repeatable_and_propensities_are_told(self, client: TestClient, served: Fitted):
        rules = [{"kind": "EpsilonGreedy", "epsilon": 0.5, "pool": 10}]
        answer = asked(client, "/recommend", user="101", k=5, rules=rules, seed=3)
        expected = served.recommend(user_id=101, k=5, rules=[EpsilonGreedy(epsilon=0.5, pool=10)], seed=3)
        same(answer, expected)
        assert [item["propensity"] for item in answer["items"]] == expected["propensity"].to_list()
        drawn = {
            tuple(item["item"] for item in asked(client, "/recommend", user="101", rules=rules)["items"]) for _ in range(9)
        }
        assert len(drawn) > 1


class TestLog:
    def test_goes_on_after_any_error(self, client: TestClient, monkeypatch: pytest.MonkeyPatch):
        lists = client.app.state.service.lists  # type: ignore[attr-defined]

        def fail(served: Any) -> None:
            raise ValueError("an error of a driver")

        monkeypatch.setattr(lists.store, "log_lists", fail)
        asked(client, "/recommend", user="101", k=3)
        end = time.monotonic() + 20
        while lists.lost < 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        monkeypatch.undo()
        asked(client, "/recommend", user="101", k=3)
        while lists.store.counters()["lists"] < 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert lists.lost == 1

    def test_every_list_is_kept_with_what_a_training_needs(self, serve: Any, artifact: Any, tmp_path: Any):
        with serve(artifact) as client:
            answers = [asked(client, "/recommend", user=str(user), k=3) for user in (101, 102)]
        with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
            lists, _ = store.lists_since(0)
        assert {answer.request for answer in lists} == {answer["request"] for answer in answers}
        first = next(served_list for served_list in lists if served_list.request == answers[0]["request"])
        assert (first.user, first.model) == ("101", answers[0]["model"])
        assert [(item.item, item.position, item.propensity) for item in first.items] == [
            (item["item"], place, 1.0) for place, item in enumerate(answers[0]["items"], 1)
        ]

    def test_keys_and_names_of_any_length_are_kept(self, serve: Any, world: pl.DataFrame, tmp_path: Path):
        from polyrec.serve.stores.opening import open_store

        name = "a class of a very long name that goes on and on for more than sixty-four letters"
        keys = {5: "http://x/" + "p" * 500, 12: ""}
        rows = world.head(600).with_columns(
            item_id=pl.col("item_id").replace_strict(keys, default=pl.col("item_id").cast(pl.String), return_dtype=pl.String),
            kind=pl.format(name + " {}", pl.int_range(pl.len()) % 300),
        )
        spec = Recommender(
            user=(Categorical(name="user_id", width=4),),
            item=(Categorical(name="item_id", width=4),),
            tasks=(Binary(name="like", label="rating >= 4", tower=()), Multiclass(name="kind", label="kind", tower=())),
            training=Training(epochs=1),
        )
        fitted = spec.fit(rows, progress=False)
        with serve(fitted.save(tmp_path / "wide")) as client:
            items = asked(client, "/recommend", k=100)["items"]
            assert {*keys.values()} <= {item["item"] for item in items}
        with open_store(f"sqlite:///{tmp_path}/events.sqlite") as store:
            ((served,), _) = store.lists_since(0)
        assert [(item.item, dict(item.predictions)) for item in served.items] == [
            (item["item"], item["tasks"]) for item in items
        ]

    def test_a_list_that_no_record_holds_is_answered_and_told(self, client: TestClient, caplog: pytest.LogCaptureFixture):
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        answer = service.recommend(RecommendRequest.model_construct(user="u" * 300, k=3))
        assert len(answer.items) == 3
        assert "is not logged" in caplog.text


def test_times_are_told_as_in_the_training(world: pl.DataFrame, small: Any, serve: Any, tmp_path: Any):
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    rows = world.head(1000).with_columns(timestamp=pl.lit(begin) + pl.duration(seconds=pl.col("timestamp")))
    fitted = small.replace(training=small.training.replace(epochs=1)).fit(rows, progress=False)
    with serve(fitted.save(tmp_path / "dated")) as client:
        at = begin + datetime.timedelta(days=30)
        rate(client, 101, 12, 5, int(at.timestamp()))
        events = pl.DataFrame({"item_id": [12], "rating": [5], "timestamp": [at]})
        same(asked(client, "/recommend", user="101", k=5), fitted.recommend(user_id=101, k=5, events=events))
