"""HuggingFace: any encoder or causal language model, by name or folder. Shape letters: N texts, B, L tokens, D width."""

from __future__ import annotations

import hashlib
import json
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
from polyrec.language.pooling import pool


class HuggingFace(TextEncoder):
    """A model loaded with transformers from a local folder or, by name, from a hub.

    Token states of the last layer are pooled under the attention mask, whichever side is padded. Where the folder carries the
    modules of sentence-transformers, their pooling, length and normalisation are used, and vectors equal that library's.
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
        pooling = loaded.pooling if self.pooling == "auto" else self.pooling
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.zeros((len(texts), loaded.width), dtype=np.float32)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            tokens = loaded.tokenizer(
                [self.prompt + texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=self.max_length or loaded.max_length,
                return_tensors="pt",
            )
            with torch.inference_mode():
                states_BLD = loaded.model(**tokens).last_hidden_state
                pooled_BD = pool(states_BLD, tokens["attention_mask"], pooling)
                if loaded.normalise:
                    pooled_BD = torch.nn.functional.normalize(pooled_BD, dim=1)
            vectors[rows] = pooled_BD.float().numpy()
            on_done(len(rows))
        return vectors


class _Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    width: int
    max_length: int
    pooling: str
    normalise: bool


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
        model = transformers.AutoModel.from_pretrained(name, revision=revision, dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        found = str(error).strip().splitlines()[0]
        remedy = "Give a folder with config.json, weights and tokenizer, or a name that the hub can be reached for."
        raise UserError(
            f"text encoder {name!r}", expected="a model that transformers loads", found=found, remedy=remedy
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    modes = _json(Path(name) / "1_Pooling" / "config.json")
    wanted = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
    stated = next((pooling for key, pooling in wanted.items() if modes.get(key)), None)
    architectures = model.config.architectures or []
    is_causal = any("CausalLM" in architecture or "LMHead" in architecture for architecture in architectures)
    modules = _json(Path(name) / "modules.json")
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
    return _Loaded(
        model,
        tokenizer,
        model.config.hidden_size,
        _json(Path(name) / "sentence_bert_config.json").get("max_seq_length") or longest,
        stated or ("last" if is_causal else "mean"),
        any(module.get("type", "").endswith("Normalize") for module in modules.get("modules", [])),
    )


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON object; a list stands under `modules`, an absent file is empty."""
    if not path.is_file():
        return {}
    value = json.loads(path.read_text(encoding="utf-8"))
    return value if isinstance(value, dict) else {"modules": value}


@lru_cache(maxsize=8)
def folder_hash(folder: Path) -> str:
    """Return a hash of a model's configuration, tokenizer and weights, whatever the folder is called."""
    sink = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model", ".gguf"):
            sink.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return sink.hexdigest()
