"""StaticVectors: a table of token vectors, averaged. Shape letters: N texts, V tokens of the vocabulary, D vector width."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, JsonValue

from polyrec.core.errors import UserError, missing_extra
from polyrec.language.encoder import TextEncoder, check_texts
from polyrec.language.models.installed import package_folders
from polyrec.language.models.source import folder_hash

_TENSORS = ("embedding.weight", "embeddings")
"""Names of the table: of WordLlama and sentence-transformers, of model2vec."""


class StaticVectors(TextEncoder):
    """Each token has one vector whatever stands beside it; a text has their mean `sum_t w_t v_t / n`, normalised to length 1.

    Many times the speed of a small transformer: word order is lost, words are not. Reads what WordLlama (Miller, 2024),
    model2vec (Tulkens and van Dongen, 2024) and sentence-transformers' StaticEmbedding write: a tokenizer and one table of
    vectors, with model2vec's weights of tokens `w_t` where the file has them, else 1. In model2vec's layout unknown tokens are
    left out and vectors are normalised only where its configuration says so, as that library does, but a text is read to its
    end, not for 512 tokens. The pip package `wordllama` (MIT) carries 256 numbers a token; its vectors equal
    `WordLlama.embed(texts, norm=True)`.
    """

    examples = ({}, {"model": "wordllama", "dimensions": 128})

    model: str = Field(default="wordllama", min_length=1)
    """Folder with the tokenizer and the table, or the name of an installed package that carries them."""
    dimensions: int | None = Field(default=None, gt=0)
    """Numbers kept of a vector, the first ones, as a model trained in Matryoshka's way allows (Kusupati et al., 2022);
    normalised anew. Unset, all."""

    def identity(self) -> Mapping[str, JsonValue]:
        return {"model": folder_hash(self._folder()), "kind": "static", "width": self.vector_width()}

    def vector_width(self) -> int:
        own = _read(self._folder()).table_VD.shape[1]
        if self.dimensions is not None and self.dimensions > own:
            expected = f"`dimensions` of at most {own}, the width of its vectors"
            remedy = "Lower `dimensions`, or leave it unset."
            raise UserError(f"token vectors {self.model!r}", expected=expected, found=f"{self.dimensions}", remedy=remedy)
        return self.dimensions or own

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        check_texts(texts)
        read = _read(self._folder())
        width = self.vector_width()
        vectors = np.zeros((len(texts), width), dtype=np.float32)
        tokens = read.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for row, (text, found) in enumerate(zip(texts, tokens, strict=True)):
            ids = [number for number in found.ids if number != read.left_out]
            if ids and text.strip():
                taken = read.table_VD[ids if read.rows_V is None else read.rows_V[ids], :width]
                vectors[row] = (taken if read.weights_V is None else taken * read.weights_V[ids, None]).mean(0)
        if read.normalise:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        on_done(len(texts))
        return vectors

    def _folder(self) -> Path:
        """Return the one folder below which tokenizer and table lie."""
        place = Path(self.model)
        if place.is_dir():
            return place
        folders = package_folders(self.model)
        if len(folders) != 1:
            found, remedy = ", ".join(map(str, folders)) or "no folder", "Name the folder of the vectors."
            raise UserError(f"package {self.model!r}", expected="one folder of modules", found=found, remedy=remedy)
        return folders[0]


class _Read(NamedTuple):
    tokenizer: Any
    table_VD: np.ndarray
    weights_V: np.ndarray | None
    rows_V: np.ndarray | None
    """Row of the table by number of the token, where several tokens share a row."""
    left_out: int | None
    normalise: bool


@lru_cache(maxsize=2)
def _read(folder: Path) -> _Read:
    """Read tokenizer and table; raises `UserError` where either is missing, doubled or of another form."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_extra("tokenizers", "language", "token vectors") from error
    from safetensors import safe_open

    tokenizer = Tokenizer.from_file(str(_one(folder, "*tokenizer*.json", "tokenizer", but="tokenizer_config.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    path = _one(folder, "*.safetensors", "table of token vectors")
    with safe_open(path, framework="np") as file:
        names = set(file.keys())
        name = next((name for name in _TENSORS if name in names), None)
        if name is None:
            raise _refused(folder, f"a tensor named {' or '.join(_TENSORS)} in '{path.name}'", ", ".join(sorted(names)))
        table_VD = file.get_tensor(name).astype(np.float32)
        weights_V = file.get_tensor("weights").astype(np.float32) if "weights" in names else None
        rows_V = file.get_tensor("mapping").astype(np.int64) if "mapping" in names else None
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    held = len(table_VD if rows_V is None else rows_V)
    if table_VD.ndim != 2 or held < vocabulary or not np.isfinite(table_VD).all():
        expected = f"finite vectors for the {vocabulary} tokens of its tokenizer"
        raise _refused(folder, expected, f"a tensor of shape {table_VD.shape}")
    config = path.parent / "config.json"
    stated = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    unknown = json.loads(tokenizer.to_str())["model"].get("unk_token") if name == "embeddings" else None
    left_out = None if unknown is None else tokenizer.token_to_id(unknown)
    normalise = stated.get("normalize", name != "embeddings")
    return _Read(tokenizer, table_VD, weights_V, rows_V, left_out, normalise)


def _one(folder: Path, pattern: str, what: str, but: str = "") -> Path:
    found = sorted(path for path in folder.rglob(pattern) if path.name != but)
    if len(found) != 1:
        raise _refused(folder, f"one {what} ({pattern})", ", ".join(path.name for path in found) or "none")
    return found[0]


def _refused(folder: Path, expected: str, found: str) -> UserError:
    return UserError(
        f"token vectors in '{folder}'", expected=expected, found=found, remedy="Name the folder of one such model."
    )
