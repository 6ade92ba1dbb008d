"""Which index serves how many vectors, and files that hold one."""

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
"""Number of vectors that are searched exactly: a query of width 64 takes some 4 ms of a core, and nothing has to be learned."""

_KINDS: Mapping[str, type[Exact | InvertedFile]] = {"Exact": Exact, "InvertedFile": InvertedFile}


def build_index(
    vectors_ND: np.ndarray,
    *,
    queries_QD: np.ndarray | None = None,
    recall: float = 0.97,
    seed: int = 0,
    progress: bool = False,
) -> Index:
    """Return an index of vectors, the first of row 0: exact up to 300,000 vectors, an inverted file above.

    The arguments are those of `InvertedFile.build`.
    """
    if len(vectors_ND) <= EXACT_UP_TO:
        return Exact.build(vectors_ND)
    return InvertedFile.build(vectors_ND, queries_QD=queries_QD, recall=recall, seed=seed, progress=progress)


def save_index(index: Index, path: Path) -> None:
    """Write an index, compacted, to a file in safetensors, whole or not at all."""
    laid = index.compacted()
    tensors = {"vectors": laid.vectors_ND, "rows": laid.rows_N, **laid.tensors()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"kind": type(laid).__name__, "sha256": _digest(tensors)})


def load_index(path: Path) -> Index:
    """Read an index that `save_index` wrote; raise `UserError` where the file is no index or not as it was written."""
    if not path.is_file():
        raise _broken(path, "no such file")
    try:
        with safe_open(path, framework="np") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except SafetensorError as error:
        raise _broken(path, str(error)) from error
    kind = _KINDS.get(told.get("kind", ""))
    if kind is None or told.get("sha256") != _digest(tensors):
        raise _broken(path, "another content")
    vectors_ND, rows_N = tensors["vectors"], tensors["rows"]
    if kind is Exact:
        return Exact(vectors_ND, rows_N)
    return InvertedFile(vectors_ND, rows_N, tensors["centroids"], tensors["offsets"], tensors["budgets"])


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of tensors with their names, kinds and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def _broken(path: Path, found: str) -> UserError:
    remedy = "Build the index again."
    return UserError(f"index '{path}'", expected="an index as it was written", found=found, remedy=remedy)
