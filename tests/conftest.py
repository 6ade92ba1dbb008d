"""A small world whose truth is known, and a recommender fitted to it once."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    History,
    MMoE,
    Multilabel,
    Multiply,
    Numeric,
    Recommender,
    Regression,
    Training,
)


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
