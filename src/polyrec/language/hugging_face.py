"""HuggingFace: any encoder or causal language model, by name or folder. Shape letters: N texts, B, L tokens, D width."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, JsonValue

from polyrec.core.errors import UserError, missing_extra
from polyrec.core.files import sha256
from polyrec.language.encoder import TextEncoder
from polyrec.language.pooling import POOLINGS, pool
from polyrec.language.stated import is_causal, read_stated


class HuggingFace(TextEncoder):
    """A model loaded with transformers from a local folder or, by name, from a hub.

    Token states of the last layer are pooled under the attention mask. Texts are padded on the right, whatever side the
    tokenizer prefers: a model that numbers positions from the first cell would otherwise read a text shifted by its padding,
    and its vector would depend on the rest of the batch. Where the model carries the modules of sentence-transformers, their
    pooling, length and normalisation are used, and vectors equal that library's. A text without a token has the vector 0.
    """

    examples = ({"model": "sentence-transformers/all-MiniLM-L6-v2"}, {"model": "gpt2", "pooling": "last", "prompt": "Item: "})

    model: str
    """Folder, or name on the hub."""
    revision: str | None = None
    """Commit or tag on the hub: pin it, or vectors change when the model does."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How token states become one vector: their mean, the first or the last token. `auto` reads the model's own modules, else
    takes the last token of a causal model and the mean of any other."""
    prompt: str = ""
    """Put before every text."""
    max_length: int | None = Field(default=None, gt=0)
    """Tokens read of a text; unset, as many as the model's own configuration says."""
    batch_size: int = Field(default=64, gt=0)
    """Texts a forward pass; changes speed, not vectors."""

    def identity(self) -> Mapping[str, JsonValue]:
        folder = Path(self.model)
        content = folder_hash(folder) if folder.is_dir() else f"{self.model}@{self.revision}"
        return {"model": content, "pooling": self.pooling, "prompt": self.prompt, "max_length": self.max_length}

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        loaded = _load(self.model, self.revision)
        pooling, max_length = self._pooling(loaded), self._max_length(loaded)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.zeros((len(texts), loaded.width), dtype=np.float32)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            tokens = loaded.tokenizer(
                [self.prompt + texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
            if tokens["attention_mask"].any():
                with torch.inference_mode():
                    states_BLD = loaded.model(**tokens).last_hidden_state
                    pooled_BD = pool(states_BLD, tokens["attention_mask"], pooling)
                    if loaded.normalise:
                        pooled_BD = torch.nn.functional.normalize(pooled_BD, dim=1)
                vectors[rows] = pooled_BD.float().numpy()
            on_done(len(rows))
        return vectors

    def loaded(self) -> _Loaded:
        """Return model and tokenizer, shared and read-only."""
        own = _load(self.model, self.revision)
        pooling, length = self._pooling(own), self._max_length(own)
        return own._replace(pooling=pooling, max_length=length, prompt=self.prompt)

    def _pooling(self, loaded: _Loaded) -> str:
        pooling = loaded.pooling if self.pooling == "auto" else self.pooling
        if pooling not in POOLINGS:
            raise UserError(
                f"text encoder {self.model!r}",
                expected="a model that is pooled by mean, cls or last token",
                found=f"the pooling {pooling!r} in its configuration",
                remedy="Set `pooling`, or name another model.",
            )
        return pooling

    def _max_length(self, loaded: _Loaded) -> int:
        if self.max_length is not None and self.max_length > loaded.positions:
            raise UserError(
                f"text encoder {self.model!r}",
                expected=f"a `max_length` of at most {loaded.positions} tokens, which the model has positions for",
                found=f"{self.max_length}",
                remedy="Lower `max_length`, or leave it unset.",
            )
        return self.max_length or loaded.max_length


class _Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    width: int
    positions: int
    max_length: int
    pooling: str
    normalise: bool
    prompt: str = ""
    skipped: int = 0
    lower: bool = False
    dense: torch.nn.Module = torch.nn.Sequential()

    def vectors(self, states_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        vectors_BD = pool(states_BLD, mask_BL, self.pooling)
        return torch.nn.functional.normalize(vectors_BD, dim=1) if self.normalise else vectors_BD


@lru_cache(maxsize=2)
def _load(name: str, revision: str | None) -> _Loaded:
    """Load model and tokenizer, and read how the model wants to be pooled."""
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "language", "a text encoder") from error
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, revision=revision)
        stated = read_stated(name, revision)
        model = transformers.AutoModel.from_pretrained(name, revision=revision, dtype=torch.float32).eval()
    except UserError:
        raise
    except (OSError, ValueError) as error:
        found = str(error).strip().partition("\n")[0]
        remedy = "Give a folder with config.json, weights and tokenizer, or a name that the hub can be reached for."
        raise UserError(
            f"text encoder {name!r}", expected="a model that transformers loads", found=found, remedy=remedy
        ) from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    positions = getattr(model.config, "max_position_embeddings", None) or _UNBOUNDED
    longest = min(tokenizer.model_max_length, 512 if positions == _UNBOUNDED else positions)
    pooling = stated.pooling or ("last" if is_causal(model.config) else "mean")
    reader = model.get_encoder() if model.config.is_encoder_decoder else model
    width = model.config.hidden_size
    return _Loaded(reader, tokenizer, width, positions, stated.max_length or longest, pooling, stated.normalise)


_UNBOUNDED = 2**31
"""Positions of a model that has no table of them."""


@lru_cache(maxsize=8)
def folder_hash(folder: Path) -> str:
    """Return a hash of a model's configuration, tokenizer and weights, whatever the folder is called."""
    sink = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model", ".gguf"):
            sink.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return sink.hexdigest()
