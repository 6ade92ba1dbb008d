"""Precomputed: vectors from a file, looked up by key. Shape letters: N texts, K keys of the file, D vector width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field, JsonValue

from polyrec.core.errors import UserError, nearest
from polyrec.core.files import read_parquet, sha256
from polyrec.language.encoder import TextEncoder, check_texts

_SHOWN = 5


class Precomputed(TextEncoder):
    """Vectors read from a file; each text is a key of the file: `Text(template="{item_id}", encoder=Precomputed(…))`.

    Use it for vectors of external models, of images or of sound. They are looked up by key, so rows may be in any order, and
    keys may be integers. Vectors are neither normalised nor copied into the cache. A blank text has the vector 0.
    """

    examples = ({"path": "vectors.parquet"}, {"path": "vectors.npz", "key": "item_id", "vector": "image", "missing": "zero"})

    is_cached: ClassVar[bool] = False

    path: str
    """File: Parquet, Arrow (.arrow, .feather, .ipc) or NumPy's .npz."""
    key: str = Field(default="key", min_length=1)
    """Column, or array of the .npz, of the keys: texts or integers."""
    vector: str = Field(default="vector", min_length=1)
    """Column of lists of numbers, or array (K, D) of the .npz, of the vectors."""
    missing: Literal["error", "zero"] = "error"
    """Treatment of a text that is no key: an error that names it, or the vector 0, for instance for an item without an
    image."""

    def identity(self) -> Mapping[str, JsonValue]:
        content = sha256(self._file())
        return {"model": content, "kind": "precomputed", "key": self.key, "vector": self.vector, "missing": self.missing}

    def vector_width(self) -> int:
        return self._table().vectors_KD.shape[1]

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        check_texts(texts)
        table = self._table()
        places = [table.row.get(text) if text.strip() else None for text in texts]
        absent = list(dict.fromkeys(text for text, place in zip(texts, places, strict=True) if place is None and text.strip()))
        if absent and self.missing == "error":
            shown = ", ".join(f"{text!r:.80}" for text in absent[:_SHOWN]) + (", …" if len(absent) > _SHOWN else "")
            remedy = "Add them to the file, or set missing='zero' where a vector may be absent."
            expected, found = f"a vector for each of {len(texts):,} keys", f"none for {len(absent):,}: {shown}"
            raise UserError(f"file '{self.path}'", expected=expected, found=found, remedy=remedy)
        vectors = table.vectors_KD[[place or 0 for place in places]]
        vectors[[row for row, place in enumerate(places) if place is None]] = 0
        on_done(len(texts))
        return vectors

    def _file(self) -> Path:
        if not Path(self.path).is_file():
            raise UserError(f"file '{self.path}'", expected="vectors by key", found="no such file", remedy="Check the path.")
        return Path(self.path)

    def _table(self) -> _Table:
        file = self._file().stat()
        return _read(self.path, self.key, self.vector, file.st_mtime_ns, file.st_size)


class _Table(NamedTuple):
    row: Mapping[str, int]
    vectors_KD: np.ndarray


@lru_cache(maxsize=4)
def _read(path: str, key: str, vector: str, changed: int, size: int) -> _Table:
    """Read and check a file; `changed` and `size` are part of the cache's key, so that a changed file is read again."""
    keys, vectors_KD = (_from_npz if path.endswith(".npz") else _from_frame)(path, key, vector)
    thing = f"file '{path}'"
    if len(vectors_KD) == 0 or vectors_KD.shape[1] == 0:
        raise UserError(thing, expected="vectors", found=f"an array of shape {vectors_KD.shape}", remedy="Save at least one.")
    bad = np.flatnonzero(~np.isfinite(vectors_KD).all(1))
    if len(bad):
        found = f"NaN, null or infinity in {len(bad):,} vectors, such as that of {keys[bad[0]]!r}"
        raise UserError(
            thing, expected=f"finite numbers in {vector!r}", found=found, remedy="Compute them again, or drop the rows."
        )
    row: dict[str, int] = {}
    for place, name in enumerate(keys):
        first = row.setdefault(name, place)
        if first != place and not np.array_equal(vectors_KD[first], vectors_KD[place]):
            found = f"two that differ for {name!r}"
            raise UserError(thing, expected="one vector a key", found=found, remedy="Keep the correct one.")
    return _Table(row, vectors_KD)


def _from_frame(path: str, key: str, vector: str) -> tuple[list[str], np.ndarray]:
    frame = read_parquet(Path(path)) if path.endswith((".parquet", ".pq")) else _read_arrow(path)
    for column in (key, vector):
        if column not in frame.columns:
            raise _without(path, column, frame.columns)
    values = frame[vector]
    if not isinstance(values.dtype, pl.List | pl.Array) or not values.dtype.inner.is_numeric():
        expected, remedy = f"lists of numbers in {vector!r}", "Write one list per row, all of the same length."
        raise UserError(f"file '{path}'", expected=expected, found=f"the type {values.dtype}", remedy=remedy)
    lists = values.cast(pl.List(pl.Float32))
    widths = lists.list.len().fill_null(0).unique().sort().to_list()
    if len(widths) > 1:
        remedy = "Write one list per row, all of the same length."
        expected = f"vectors of one width in {vector!r}"
        raise UserError(f"file '{path}'", expected=expected, found=f"widths {', '.join(map(str, widths))}", remedy=remedy)
    width = widths[0] if widths else 0
    return _keys(path, frame[key]), lists.explode().fill_null(float("nan")).to_numpy().reshape(len(lists), width).copy()


def _from_npz(path: str, key: str, vector: str) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in (key, vector):
                if name not in file:
                    raise _without(path, name, list(file))
            keys, vectors = file[key], file[vector]
    except UserError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, "arrays without objects in NumPy's .npz", error) from error
    if vectors.ndim != 2 or keys.shape != vectors.shape[:1] or vectors.dtype.kind not in "fiu":
        found = f"shapes {keys.shape} and {vectors.shape}, type {vectors.dtype}"
        expected, remedy = f"numbers of shape (K, D) in {vector!r} and (K,) in {key!r}", "Save arrays of this shape."
        raise UserError(f"file '{path}'", expected=expected, found=found, remedy=remedy)
    return _keys(path, pl.Series(keys)), vectors.astype(np.float32)


def _read_arrow(path: str) -> pl.DataFrame:
    try:
        with pa.ipc.open_file(path) as file:
            frame = pl.from_arrow(file.read_all())
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet (.parquet), Arrow (.arrow, .feather, .ipc) or NumPy (.npz)", error) from error
    assert isinstance(frame, pl.DataFrame)
    return frame


def _keys(path: str, keys: pl.Series) -> list[str]:
    if not (keys.dtype.is_integer() or keys.dtype in (pl.String, pl.Categorical, pl.Enum)) or keys.null_count():
        found = f"the type {keys.dtype} with {keys.null_count()} nulls"
        remedy = "Cast them to string or integer, and drop rows without a key."
        raise UserError(f"keys {keys.name!r} of '{path}'", expected="texts or whole numbers", found=found, remedy=remedy)
    return keys.cast(pl.String).to_list()


def _without(path: str, name: str, names: Sequence[str]) -> UserError:
    return UserError(f"file '{path}'", expected=f"a column {name!r}", found="none", remedy=nearest(name, names))


def _unreadable(path: str, expected: str, error: Exception) -> UserError:
    found = str(error).partition("\n")[0] or type(error).__name__
    return UserError(f"file '{path}'", expected=expected, found=found, remedy="Write the file again, or name another.")
