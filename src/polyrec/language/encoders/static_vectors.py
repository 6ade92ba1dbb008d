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
"""Tensor names of the table in WordLlama and sentence-transformers, and in model2vec."""


class StaticVectors(TextEncoder):
    """Each token has a fixed vector; the vector of a text is their mean `sum_t w_t v_t / n`, normalised to length 1.

    Many times as fast as a small transformer, but without word order. Reads the files of WordLlama (Miller, 2024), model2vec
    (Tulkens and van Dongen, 2024) and sentence-transformers' StaticEmbedding: a tokenizer, one table of vectors and, if the
    file has them, model2vec's token weights `w_t`, else 1. As in model2vec, unknown tokens of its files are left out, and its
    vectors are normalised only if the configuration states so; unlike there, texts are not truncated at 512 tokens. The pip
    package `wordllama` (MIT) has 256 numbers per token; its vectors equal `WordLlama.embed(texts, norm=True)`.
    """

    examples = ({}, {"model": "wordllama", "dimensions": 128})

    model: str = Field(default="wordllama", min_length=1)
    """Folder with the tokenizer and the table, or the name of an installed package that contains them."""
    dimensions: int | None = Field(default=None, gt=0)
    """Number of leading dimensions kept, for Matryoshka models (Kusupati et al., 2022); vectors are normalised afterwards.
    Unset, all."""

    def identity(self) -> Mapping[str, JsonValue]:
        return {"model": folder_hash(self._folder()), "kind": "static", "width": self.vector_width()}

    def vector_width(self) -> int:
        width = _read(self._folder()).table_VD.shape[1]
        if self.dimensions is not None and self.dimensions > width:
            expected = f"`dimensions` of at most {width}, the width of its vectors"
            remedy = "Lower `dimensions`, or leave it unset."
            raise UserError(f"token vectors {self.model!r}", expected=expected, found=f"{self.dimensions}", remedy=remedy)
        return self.dimensions or width

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        check_texts(texts)
        read = _read(self._folder())
        width = self.vector_width()
        vectors = np.zeros((len(texts), width), dtype=np.float32)
        encodings = read.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for row, (text, tokens) in enumerate(zip(texts, encodings, strict=True)):
            ids = [number for number in tokens.ids if number != read.left_out]
            if ids and text.strip():
                taken = read.table_VD[ids if read.rows_V is None else read.rows_V[ids], :width]
                vectors[row] = (taken if read.weights_V is None else taken * read.weights_V[ids, None]).mean(0)
        if read.normalise:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        on_done(len(texts))
        return vectors

    def _folder(self) -> Path:
        """Return the folder that contains tokenizer and table."""
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
    """Row of the table by token id, if several tokens share a row."""
    left_out: int | None
    """Id of the unknown token, which is left out."""
    normalise: bool


@lru_cache(maxsize=2)
def _read(folder: Path) -> _Read:
    """Read tokenizer and table; raises `UserError` if either is missing, ambiguous or of another form."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_extra("tokenizers", "language", "token vectors") from error
    from safetensors import safe_open

    tokenizer = Tokenizer.from_file(str(_single_file(folder, "*tokenizer*.json", "tokenizer", but="tokenizer_config.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    path = _single_file(folder, "*.safetensors", "table of token vectors")
    with safe_open(path, framework="np") as file:
        names = set(file.keys())
        name = next((name for name in _TENSORS if name in names), None)
        if name is None:
            raise _refused(folder, f"a tensor named {' or '.join(_TENSORS)} in '{path.name}'", ", ".join(sorted(names)))
        table_VD = file.get_tensor(name).astype(np.float32)
        weights_V = file.get_tensor("weights").astype(np.float32) if "weights" in names else None
        rows_V = file.get_tensor("mapping").astype(np.int64) if "mapping" in names else None
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    tokens = len(table_VD if rows_V is None else rows_V)
    if table_VD.ndim != 2 or tokens < vocabulary or not np.isfinite(table_VD).all():
        expected = f"finite vectors for the {vocabulary} tokens of its tokenizer"
        raise _refused(folder, expected, f"a tensor of shape {table_VD.shape}")
    config = path.parent / "config.json"
    stated = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    unknown = json.loads(tokenizer.to_str())["model"].get("unk_token") if name == "embeddings" else None
    left_out = None if unknown is None else tokenizer.token_to_id(unknown)
    normalise = stated.get("normalize", name != "embeddings")
    return _Read(tokenizer, table_VD, weights_V, rows_V, left_out, normalise)


def _single_file(folder: Path, pattern: str, what: str, but: str = "") -> Path:
    """Return the single file that matches a pattern, except for the name `but`; `what` names it in the error."""
    matches = sorted(path for path in folder.rglob(pattern) if path.name != but)
    if len(matches) != 1:
        raise _refused(folder, f"one {what} ({pattern})", ", ".join(path.name for path in matches) or "none")
    return matches[0]


def _refused(folder: Path, expected: str, found: str) -> UserError:
    return UserError(
        f"token vectors in '{folder}'", expected=expected, found=found, remedy="Name the folder of one such model."
    )
