"""What never reaches the model: bodies that are too large, too slow, too deep or no JSON; callers without a key; too many."""

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from polyrec import UserError
from polyrec.serve.gate import guard
from polyrec.serve.gate.access import SCOPES
from polyrec.serve.gate.guard import RefusedError, check_json
from polyrec.serve.gate.keys import new_key, read_keys
from polyrec.serve.gate.limits import Gate, RateLimit
from polyrec.serve.settings import Settings

BODY = '{"user": "101", "k": 3}'


def post(client: TestClient, body: str | bytes, path: str = "/recommend", **headers: str) -> Any:
    return client.post(path, content=body, headers={"content-type": "application/json", **headers})


@pytest.mark.parametrize(
    "body",
    [
        '{"user": "101", "k": NaN}',
        '{"weights": {"like": Infinity}}',
        '{"weights": {"like": -1e999}}',
        '{"user": "\\ud800"}',
        '{"user": "a", "user": "b"}',
        '{"features": {"age": ' + "[" * 200 + "]" * 200 + "}}",
        "[" * 100_000,
        '{"k": ' + "9" * 100 + "}",
        '{"k": ' + "9" * 5000 + "}",
        '{"user": "101"',
        "\xff\xfe".encode("latin-1"),
        '{"user": 101}',
        '{"k": 3.5}',
        '{"k": "3"}',
        '{"k": 0}',
        '{"k": 101}',
        '{"user": ""}',
        '{"user": "a\\u0000b"}',
        '{"usr": "101"}',
        '{"where": "no_such = 1"}',
        '{"where": "SELECT 1"}',
        '{"where": "item_id IN (SELECT x FROM read_csv(\'/etc/passwd\'))"}',
        '{"where": "item_id IN (SELECT x FROM read_csv(\'/no/such/file\'))"}',
        '{"where": "\'1\'::decimal(99,99) = 1"}',
        '{"where": "1 // NULL = 1"}',
        '{"where": "\'a\'"}',
        '{"where": "CAST(item_id AS VARCHAR)"}',
        '{"where": "ARRAY[1,2]"}',
        '{"rules": [{"kind": "Where", "condition": "' + "1+" * 60_000 + '1 > 0"}]}',
        '{"rules": [{"kind": "Where", "condition": "item_id IN (SELECT 1)"}]}',
        '{"rules": [{"kind": "Pinned", "items": {' + ", ".join(f'"{n}": {n}' for n in range(1, 1002)) + "}}]}",
        '{"rules": [{"kind": "Exclude", "items": [' + ", ".join(map(str, range(10_001))) + "]}]}",
        '{"weights": {"like": -1e308}}',
        '{"features": {"age": 1e200}}',
        '{"weights": {"no_such": 1}}',
        '{"rules": [{"kind": "Nothing"}]}',
        '{"rules": [{"kind": "AtMost", "count": 1, "column": "no_such"}]}',
        '{"features": {"no_such": 1}}',
        '{"features": {"user_id": "101"}}',
        '{"columns": ["no_such"]}',
        "null",
        "3",
        '"text"',
        "[]",
    ],
)
def test_bodies_that_are_not_as_documented_are_refused(client: TestClient, body: str | bytes):
    answer = post(client, body)
    assert answer.status_code in (409, 422), answer.text
    assert list(answer.json()) == ["error"]
    assert "Traceback" not in answer.text and "/src/" not in answer.text
    assert post(client, BODY).status_code == 200


def test_a_body_that_is_too_large_is_refused_unread(client: TestClient):
    assert post(client, b"x" * (guard.MOST_BYTES + 1)).status_code == 413

    def pieces() -> Any:
        for _ in range(20):
            yield b"[" * 2**16

    assert post(client, pieces()).status_code == 413


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
@settings(max_examples=200)
def test_what_python_writes_as_json_passes(value: object):
    try:
        text = json.dumps(value).encode()
    except UnicodeEncodeError:
        return
    depth = max((text[:place].count(b"[") - text[:place].count(b"]") for place in range(len(text))), default=0)
    if depth < guard.DEEPEST - 1:
        check_json(text)


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_other_bytes_are_refused_or_json(body: bytes):
    status = None
    try:
        check_json(body)
    except RefusedError as refused:
        status = refused.status
    if status is None:
        json.loads(body)
    else:
        assert status == 422


class TestKeys:
    @pytest.fixture
    def keys(self, tmp_path: Path) -> tuple[Path, dict[str, str]]:
        made = {name: new_key() for name in ("asker", "teller", "boss")}
        scopes = {"asker": "[read]", "teller": "[read, write]", "boss": "[read, write, admin]"}
        lines = [f"- {{name: {name}, sha256: {digest}, scopes: {scopes[name]}}}" for name, (_, digest) in made.items()]
        path = tmp_path / "keys.yaml"
        path.write_text("\n".join(lines))
        return path, {name: key for name, (key, _) in made.items()}

    def test_are_asked_for_and_bound_to_scopes(self, serve: Any, artifact: Path, keys: tuple[Path, dict[str, str]]):
        path, made = keys
        event = '{"events": [{"id": "1", "user": "1", "item": "5", "type": "view", "time": 1}]}'
        with serve(artifact, keys=path) as client:
            for headers, expected in (({}, 401), ({"authorization": "Bearer no"}, 401), ({"x-api-key": made["asker"]}, 200)):
                assert post(client, BODY, **headers).status_code == expected
            for name, expected in (("asker", 403), ("teller", 202), ("boss", 202)):
                headers = {"authorization": f"Bearer {made[name]}"}
                assert post(client, event, "/events", **headers).status_code == expected
                gone = client.delete("/users/7", headers=headers).status_code
                assert gone == (204 if name == "boss" else 403)
                assert client.get("/metrics", headers=headers).status_code == (200 if name == "boss" else 403)
            for path_of_all in ("/health", "/ready", "/"):
                assert client.get(path_of_all).status_code == 200
            refused = post(client, BODY, authorization="Bearer secret-of-mine")
            assert "secret-of-mine" not in refused.text

    @pytest.mark.parametrize("root", ["", "/api", "/a/b"])
    def test_hold_wherever_the_server_is_mounted(
        self, serve: Any, artifact: Path, keys: tuple[Path, dict[str, str]], root: str
    ):
        path, made = keys
        asker, boss = ({"x-api-key": made[name]} for name in ("asker", "boss"))
        with serve(artifact, root_path=root, keys=path) as client:
            assert post(client, BODY, f"{root}/recommend", **asker).status_code == 200
            for method, route in (("DELETE", "/users/7"), ("POST", "/reload"), ("GET", "/metrics"), ("POST", "/events")):
                assert client.request(method, f"{root}{route}", headers=asker, json={}).status_code == 403
            assert client.delete(f"{root}/users/7", headers=boss).status_code == 204
            assert client.get(f"{root}/users/7", headers=asker).json()["erased"] is True
            assert 'path="/users"' in client.get(f"{root}/metrics", headers=boss).text
            assert client.get(f"{root}/health").status_code == 200
            assert client.get(f"{root}/model").status_code == 401

    def test_for_what_is_not_known_are_those_of_who_runs_the_server(
        self, serve: Any, artifact: Path, keys: tuple[Path, dict[str, str]]
    ):
        path, made = keys
        with serve(artifact, keys=path) as client:
            for method, route in (("GET", "/nothing"), ("PATCH", "/users/7"), ("PUT", "/model")):
                codes = [
                    client.request(method, route, headers={"x-api-key": made[name]}).status_code for name in ("teller", "boss")
                ]
                assert codes[0] == 403 and codes[1] in (404, 405)

    def test_every_path_of_the_document_has_a_scope(self, client: TestClient):
        document = client.get("/openapi.json").json()
        routes = {
            (method.upper(), f"/{path.split('/')[1]}")
            for path, operations in document["paths"].items()
            for method in operations
        }
        assert routes == SCOPES.keys() | {("GET", "/health"), ("GET", "/ready")}

    def test_are_kept_as_hashes(self):
        key, digest = new_key()
        assert hashlib.sha256(key.encode()).hexdigest() == digest

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "- {name: a, sha256: short, scopes: [read]}", "- {name: a}", "{", "- {name: a, sha256: %s, scopes: [all]}"],
    )
    def test_of_a_file_that_lists_none_are_refused(self, tmp_path: Path, text: str):
        path = tmp_path / "keys.yaml"
        path.write_text(text.replace("%s", "0" * 64))
        with pytest.raises(UserError, match="file of keys"):
            read_keys(path)

    def test_may_be_left_out_on_this_machine_alone(self):
        assert not Settings(host="127.0.0.1").api_keys().keys
        assert not Settings(host="::1").api_keys().keys
        for host in ("0.0.0.0", "::", "192.168.0.1", "example.org"):
            with pytest.raises(UserError, match="as other machines have access"):
                Settings(host=host).api_keys()


class TestSameMachine:
    """Without keys, pages of other sites get nothing, whatever name they ask by."""

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:1", "[::1]", "[::1]:8000"])
    def test_its_names_are_answered(self, client: TestClient, host: str):
        assert client.get("/users", headers={"host": host}).status_code == 200
        assert post(client, BODY, host=host, origin=f"http://{host}").status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "0.0.0.0:8000", "[::2]:80", "[::1", ""],
    )
    def test_other_names_are_refused(self, client: TestClient, host: str):
        for method, path in (("GET", "/"), ("GET", "/users"), ("POST", "/recommend"), ("POST", "/reload"), ("GET", "/ready")):
            answer = client.request(method, path, headers={"host": host})
            assert answer.status_code == 403 and "serve with --keys" in answer.json()["error"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://localhost:3000"},
            {"origin": "http://localhost.evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
        ],
    )
    def test_pages_of_others_change_nothing(self, client: TestClient, headers: dict[str, str]):
        for method, path in (("POST", "/reload"), ("DELETE", "/users/101"), ("POST", "/events"), ("POST", "/recommend")):
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 403 and "another" in answer.json()["error"]
        assert client.get("/users/101").json()["erased"] is False

    @pytest.mark.parametrize(
        "headers", [{}, {"origin": "http://localhost"}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-origin"}]
    )
    def test_its_own_page_and_programs_do(self, client: TestClient, headers: dict[str, str]):
        assert client.post("/reload", headers=headers).status_code == 200
        assert client.delete("/users/101", headers=headers).status_code == 204

    def test_links_of_others_lead_to_the_page(self, client: TestClient):
        assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200

    def test_with_keys_every_name_is_answered_to_who_has_one(self, serve: Any, artifact: Path, tmp_path: Path):
        key, digest = new_key()
        (tmp_path / "keys.yaml").write_text(f"- {{name: a, sha256: {digest}, scopes: [read]}}")
        headers = {"host": "films.example", "origin": "https://shop.example"}
        with serve(artifact, keys=tmp_path / "keys.yaml") as client:
            assert post(client, BODY, **headers).status_code == 401
            assert post(client, BODY, **headers, **{"x-api-key": key}).status_code == 200


def test_a_header_makes_no_other_caller(artifact: Path, tmp_path: Path, start: Any):
    server = start(artifact, "--store", f"sqlite:///{tmp_path}/events.sqlite", "--rate", "0.5")
    with httpx.Client() as client:
        codes = [client.get(f"{server.url}/model", headers={"x-forwarded-for": f"10.0.0.{n}"}).status_code for n in range(5)]
    assert 429 in codes


class TestRate:
    def test_is_that_of_a_leaky_bucket(self):
        now = [0.0]
        limit = RateLimit(2.0, 3.0, clock=lambda: now[0])

        def taken(caller: str, count: int) -> int:
            refusals = []
            for _ in range(count):
                try:
                    limit.take(caller)
                except RefusedError as refused:
                    refusals.append((refused.status, refused.headers["retry_after"]))
            assert set(refusals) <= {(429, "1")}
            return count - len(refusals)

        assert taken("a", 10) == 3
        assert taken("b", 10) == 3
        now[0] = 1.0
        assert taken("a", 10) == 2
        now[0] = 100.0
        assert taken("a", 10) == 3

    def test_holds_for_each_caller_of_the_server(self, serve: Any, artifact: Path):
        with serve(artifact, rate=0.001, burst=5) as client:
            codes = [post(client, BODY).status_code for _ in range(8)]
            assert codes == [200] * 5 + [429] * 3
            assert int(post(client, BODY).headers["retry-after"]) > 0
            assert client.get("/health").status_code == 200


class TestGate:
    def test_lets_some_work_some_wait_and_refuses_the_rest(self):
        gate, begun, release = Gate(2, 3, patience=60), [0], threading.Event()

        def work() -> int:
            begun[0] += 1
            release.wait(10)
            return 1

        async def all_at_once() -> list[int]:
            answers: list[int] = []

            async def one() -> None:
                try:
                    answers.append(await gate.run(work))
                except RefusedError as refused:
                    answers.append(refused.status)

            async with anyio.create_task_group() as tasks:
                for _ in range(9):
                    tasks.start_soon(one)
                await anyio.sleep(0.2)
                assert (begun[0], gate.inside, answers) == (2, 5, [503] * 4)
                release.set()
            return answers

        assert sorted(anyio.run(all_at_once)) == [1] * 5 + [503] * 4
        assert gate.inside == 0

    def test_refuses_whoever_waited_too_long_and_recovers(self):
        gate = Gate(1, 5, patience=0.1)

        async def run() -> list[int]:
            answers: list[int] = []

            async def one() -> None:
                try:
                    answers.append(await gate.run(lambda: time.sleep(0.5) or 1))
                except RefusedError as refused:
                    answers.append(refused.status)

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(one)
            answers.append(await gate.run(lambda: 2))
            return answers

        assert anyio.run(run) == [503, 503, 1, 2]


def test_no_path_of_a_request_touches_the_disk(client: TestClient):
    for path in ("/../../etc/passwd", "/page/../app.py", "/%2e%2e/%2e%2e/etc/passwd", "/page.js/../app.py"):
        answer = client.get(path)
        assert answer.status_code in (404, 405)
