"""Embeddings from a real server: the official client's requests, and every way in which a server can fail."""

import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import openai
import pytest

from polyrec import EmbeddingsEndpoint, UserError
from polyrec.language.cache.cache import encode_cached
from polyrec.language.endpoint import endpoint

TEXTS = ["Toy Story", "Heat, a crime film", "Sabrina"]


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
    monkeypatch.setattr(endpoint, "FIRST_DELAY", 0.01)


def encoder(server, fault: str = "", **settings) -> EmbeddingsEndpoint:
    model = f"smol+{fault}" if fault else "smol"
    return EmbeddingsEndpoint(**{"url": f"{server.front}/v1", "model": model, "retries": 2, **settings})


class TestWire:
    """Beside the official client, on the same server."""

    def test_requests_and_vectors_are_those_of_the_official_client(self, server):
        theirs = openai.OpenAI(base_url=f"{server.front}/v1", api_key="x").embeddings.create(model="smol", input=TEXTS)
        ours = encoder(server).encode(TEXTS)
        np.testing.assert_array_equal(ours, np.array([entry.embedding for entry in theirs.data], dtype=np.float32))
        first, second = server.log()
        assert first["body"] == second["body"]
        assert first["path"] == second["path"]

    def test_a_width_and_a_key_are_asked_for_alike(self, server, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("SMOL_KEY", server.key)
        client = openai.OpenAI(base_url=f"{server.front}/v1", api_key=server.key)
        client.embeddings.create(model="smol+key", input=["a"], dimensions=576, encoding_format="float")
        encoder(server, "key", key_variable="SMOL_KEY", dimensions=576, encoding_format="float").encode(["a"])
        first, second = server.log()
        assert first["body"] == second["body"]
        assert first["headers"]["authorization"] == second["headers"]["authorization"] == f"Bearer {server.key}"

    def test_both_formats_of_numbers_give_one_vector(self, server):
        direct = {"url": f"{server.embeddings}/v1", "model": "smol"}
        packed = EmbeddingsEndpoint(**direct).encode(TEXTS)
        plain = EmbeddingsEndpoint(**direct, encoding_format="float").encode(TEXTS)
        np.testing.assert_allclose(packed, plain, atol=1e-6)
        assert packed.shape == (3, 576)
        assert packed.dtype == np.float32

    def test_batches_keep_the_order_of_texts(self, server):
        whole = encoder(server).encode(TEXTS)
        done: list[int] = []
        np.testing.assert_allclose(encoder(server, batch_size=1).encode(TEXTS, done.append), whole, atol=1e-5)
        assert sum(done) == 3
        assert sorted(len(sent["body"]["input"]) for sent in server.log()) == [1, 1, 1, 3]

    def test_no_more_requests_wait_at_once_than_allowed(self, server):
        encoder(server, "slow", batch_size=1, in_flight=3).encode(["a", "b", "c", "d"])
        assert server.most_at_once() == 3

    def test_an_order_told_by_index_is_obeyed(self, server):
        ours = encoder(server, "shuffled", encoding_format="float").encode(TEXTS)
        np.testing.assert_allclose(ours, encoder(server, encoding_format="float").encode(TEXTS), atol=1e-5)

    def test_a_prompt_is_put_before_each_text(self, server):
        encoder(server, prompt="film: ").encode(["a"])
        assert server.log()[0]["body"]["input"] == ["film: a"]

    def test_a_blank_text_is_not_sent_and_has_the_vector_0(self, server):
        vectors = encoder(server).encode(["", "Toy Story", " \n"])
        assert server.log()[0]["body"]["input"] == ["Toy Story"]
        assert (vectors[[0, 2]] == 0).all()
        assert vectors[1].any()
        assert encoder(server).encode([""]).shape == (1, 576)
        assert len(encoder(server).encode([])) == 0


class TestCache:
    def test_a_second_run_sends_nothing(self, server):
        first = encode_cached(encoder(server), TEXTS)
        server.forget()
        np.testing.assert_array_equal(encode_cached(encoder(server), TEXTS), first)
        assert server.log() == []

    def test_whatever_changes_a_vector_changes_the_identity(self, server):
        changes = ({"model": "other"}, {"url": "http://elsewhere/v1"}, {"dimensions": 8}, {"prompt": "x"})
        plain = encoder(server)
        assert len({json.dumps(plain.replace(**change).identity()) for change in changes} | {json.dumps(plain.identity())}) == 5
        speed = {
            "batch_size": 7,
            "retries": 9,
            "timeout": 3.0,
            "in_flight": 1,
            "requests_per_minute": 10.0,
            "key_variable": "A",
        }
        assert plain.replace(**speed).identity() == plain.identity()
        assert plain.replace(url=plain.url + "/").identity() == plain.identity()


class TestBusyServers:
    @pytest.mark.parametrize("fault", ["429:2", "503:2", "500:1", "drop:2"])
    def test_are_asked_again(self, server, fault: str):
        assert encoder(server, fault).encode(["a"]).any()
        assert len(server.log()) == int(fault[-1]) + 1

    def test_are_waited_for_as_long_as_they_ask(self, server):
        encoder(server, "429@0.6:1").encode(["a"])
        first, second = server.log()
        assert second["time"] - first["time"] >= 0.6

    def test_hold_back_all_requests(self, server, monkeypatch: pytest.MonkeyPatch):
        """A good answer is read when the client has read the refusal: on a busy machine it might come first."""
        is_refused = threading.Event()
        pause, read = endpoint.Endpoint._pause, endpoint.Endpoint._read

        def paused(self: endpoint.Endpoint, seconds: float, everyone: bool) -> None:
            pause(self, seconds, everyone)
            is_refused.set()

        def read_later(self: endpoint.Endpoint, response: Any) -> Mapping[str, Any]:
            assert is_refused.wait(60)
            return read(self, response)

        monkeypatch.setattr(endpoint.Endpoint, "_pause", paused)
        monkeypatch.setattr(endpoint.Endpoint, "_read", read_later)
        encoder(server, "429@0.5:1", batch_size=1, in_flight=2).encode(["a", "b", "c"])
        times = sorted(sent["time"] for sent in server.log())
        assert len(times) == 4
        assert times[2] - times[0] >= 0.5

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("429", r"rate limited: too fast\. Wait, lower `requests_per_minute`"),
            ("503", "status 503: loading"),
            ("drop", "expected a server that answers, found no connection .*3 times"),
        ],
    )
    def test_are_given_up_after_the_retries(self, server, fault: str, message: str):
        with pytest.raises(UserError, match=message):
            encoder(server, fault).encode(["a"])
        assert len(server.log()) == 3

    @pytest.mark.parametrize("fault", ["429@3600", "quota", "404", "401"])
    def test_are_not_asked_again_where_waiting_does_not_help(self, server, fault: str):
        with pytest.raises(UserError):
            encoder(server, fault).encode(["a"])
        assert len(server.log()) == 1

    def test_that_are_slow_are_told_as_slow(self, server):
        with pytest.raises(UserError, match=r"found none within 0\.2 s, 1 times"):
            encoder(server, "slow", timeout=0.2, retries=0).encode(["a"])

    def test_that_are_down_are_told_as_down(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(UserError, match=f"model 'm' at {url}: expected a server that answers"):
            EmbeddingsEndpoint(url=url, model="m", retries=0).encode(["a"])

    def test_are_sent_no_more_than_so_many_requests_a_minute(self, server):
        started = time.monotonic()
        encoder(server, batch_size=1, requests_per_minute=300).encode(["a", "b", "c", "d"])
        assert time.monotonic() - started >= 0.6
        assert len(server.log()) == 4


class TestBrokenAnswers:
    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("json", "expected JSON, found"),
            ("nothing", "one vector for each of 3 texts, found no `data`"),
            ("missing", "one vector for each of 3 texts, found 2"),
            ("twice", "one vector for each of 3 texts, found 3, of 2 of the texts"),
            ("narrow", "vectors of 576 numbers, found one of 575"),
            ("nan", "NaN or infinity in a vector"),
            ("inf", "NaN or infinity in a vector"),
            ("overflow", "NaN or infinity in a vector"),
            ("null", "NaN or infinity in a vector"),
            ("words", "expected vectors of numbers"),
        ],
    )
    def test_are_refused_and_nothing_of_them_is_kept(self, server, fault: str, message: str):
        with pytest.raises(UserError, match=message):
            encode_cached(encoder(server, fault, encoding_format="float"), TEXTS)
        with pytest.raises(UserError, match=message):
            encode_cached(encoder(server, fault, encoding_format="float"), TEXTS)
        assert len(server.log()) == 2

    def test_of_another_width_than_the_one_before_are_refused(self, server):
        with pytest.raises(UserError, match="vectors of 575 numbers, found one of 576"):
            encoder(server, "all-narrow:1", encoding_format="float", batch_size=2, in_flight=1).encode(TEXTS)

    def test_of_another_width_than_asked_for_are_refused(self, server):
        """llama.cpp does not shorten vectors, and says nothing of it."""
        with pytest.raises(UserError, match="vectors of 64 numbers, found one of 576"):
            encoder(server, dimensions=64).encode(["a"])

    def test_a_server_that_does_not_embed_says_so(self, server):
        with pytest.raises(UserError, match="does not support embeddings"):
            EmbeddingsEndpoint(url=f"{server.chat}/v1", model="smol", retries=0).encode(["a"])


class TestKey:
    def test_is_told_from_an_absent_one_before_anything_is_sent(self, server, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("SMOL_KEY", raising=False)
        with pytest.raises(UserError, match="environment variable SMOL_KEY: expected the key"):
            encoder(server, key_variable="SMOL_KEY").encode(["a"])
        assert server.log() == []

    def test_that_is_wrong_is_not_repeated(self, server, monkeypatch: pytest.MonkeyPatch):
        """The server's own words hold the key."""
        monkeypatch.setenv("SMOL_KEY", "sk-very-secret")
        with pytest.raises(UserError, match=r"status 401, with the key in SMOL_KEY: Incorrect API key provided: …\.") as caught:
            encoder(server, "key", key_variable="SMOL_KEY").encode(["a"])
        assert "secret" not in str(caught.value)

    def test_is_in_no_declaration(self, server, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("SMOL_KEY", server.key)
        spec = encoder(server, "key", key_variable="SMOL_KEY")
        spec.encode(["a"])
        assert server.key not in spec.to_yaml() + repr(spec) + json.dumps(dict(spec.identity()))

    def test_in_the_place_of_the_variable_is_refused_unread(self):
        with pytest.raises(ValueError, match="NAME of an environment variable") as caught:
            EmbeddingsEndpoint(url="http://localhost/v1", model="m", key_variable="sk-very-secret")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["localhost:80/v1", "ftp://host/v1", "http://me:secret@host/v1", "http://host/v1?key=secret"]
    )
    def test_in_an_address_is_refused_unread(self, url: str):
        with pytest.raises(ValueError, match="`url`") as caught:
            EmbeddingsEndpoint(url=url, model="m")
        assert "secret" not in str(caught.value)
