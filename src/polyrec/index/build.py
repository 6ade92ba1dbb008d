"""Choose the index for a number of vectors; save and load indices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from polyrec.core.errors import UserError
from polyrec.core.files import replacing
from polyrec.index.exact import Exact
from polyrec.index.index import Index
from polyrec.index.inverted_file import InvertedFile

EXACT_UP_TO = 300_000
"""Maximum number of vectors for exact search: a query of width 64 takes some 4 ms of a core, and nothing must be learned."""

_KINDS: Mapping[str, type[Exact | InvertedFile]] = {"Exact": Exact, "InvertedFile": InvertedFile}


def build_index(
    vectors_ND: np.ndarray,
    *,
    queries_QD: np.ndarray | None = None,
    recall: float = 0.97,
    seed: int = 0,
    progress: bool = False,
) -> Index:
    """Return an index of vectors, in which vector n has row n: exact up to 300,000 vectors, else an inverted file.

    The arguments are those of `InvertedFile.build`.
    """
    if len(vectors_ND) <= EXACT_UP_TO:
        return Exact.build(vectors_ND)
    return InvertedFile.build(vectors_ND, queries_QD=queries_QD, recall=recall, seed=seed, progress=progress)


def save_index(index: Index, path: Path) -> None:
    """Compact an index and write it atomically to a safetensors file."""
    compacted = index.compacted()
    tensors = {"vectors": compacted.vectors_ND, "rows": compacted.rows_N, **compacted.tensors()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"kind": type(compacted).__name__, "sha256": _digest(tensors)})


def load_index(path: Path) -> Index:
    """Read an index that `save_index` wrote; raise `UserError` if the file is not an index or was altered."""
    if not path.is_file():
        raise _broken(path, "no such file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except SafetensorError as error:
        raise _broken(path, str(error)) from error
    kind = _KINDS.get(metadata.get("kind", ""))
    if kind is None or metadata.get("sha256") != _digest(tensors):
        raise _broken(path, "another content")
    vectors_ND, rows_N = tensors["vectors"], tensors["rows"]
    if kind is Exact:
        return Exact(vectors_ND, rows_N)
    return InvertedFile(vectors_ND, rows_N, tensors["centroids"], tensors["offsets"], tensors["budgets"])


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of tensors with their names, dtypes and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def _broken(path: Path, found: str) -> UserError:
    remedy = "Build the index again."
    return UserError(f"index '{path}'", expected="an index as it was written", found=found, remedy=remedy)
