"""Hashes of id columns that are equal across processes, machines and versions.

Shape letters: N values, K hash functions, W words of eight bytes, S strings.
"""

from __future__ import annotations

import numpy as np
import polars as pl

_STRINGS = 1 << 20
"""Number of distinct strings hashed at a time, which bounds memory."""


def mix(numbers: np.ndarray) -> np.ndarray:
    """Return the next output of SplitMix64 (Steele et al., OOPSLA 2014) for each state: a bijection of 64 bits."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_rows(values: pl.Series, rows: int, hashes: int, seed: int) -> np.ndarray:
    """Return the row that each hash function assigns to each value, int32 (N, K); 0 for null.

    Each function has `rows` separate rows: the first 1 to `rows`, the second the next `rows`, and so on.
    """
    salt_K = mix(mix(np.array([seed], np.uint64)) + np.arange(hashes, dtype=np.uint64))
    row_NK = (mix(hash_values(values)[:, None] ^ salt_K) % np.uint64(rows)).astype(np.int32)
    first_K = 1 + rows * np.arange(hashes, dtype=np.int32)
    return np.where(values.is_null().to_numpy()[:, None], np.int32(0), row_NK + first_K)


def hash_values(values: pl.Series) -> np.ndarray:
    """Return a 64-bit hash of each value, uint64 (N,): integers, booleans and times by their number, the rest as text."""
    if values.dtype == pl.String:
        return _hash_distinct(values)
    numbers = values.to_physical()
    if numbers.dtype == pl.UInt64:
        return mix(numbers.fill_null(0).to_numpy())
    if numbers.dtype in (pl.Int128, pl.UInt128):
        return _hash_distinct(values.cast(pl.String))
    return mix(numbers.cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64))


def _hash_distinct(strings: pl.Series) -> np.ndarray:
    distinct = strings.drop_nulls().unique()
    parts = [_hash_strings(part.rechunk()) for part in pl.DataFrame({"value": distinct}).iter_slices(_STRINGS)]
    hashed = pl.DataFrame({"value": distinct, "hash": np.concatenate([np.zeros(0, np.uint64), *parts])})
    return (
        strings.alias("value")
        .to_frame()
        .join(hashed, on="value", how="left", maintain_order="left")["hash"]
        .fill_null(0)
        .to_numpy()
    )


def _hash_strings(part: pl.DataFrame) -> np.ndarray:
    """Return a 64-bit hash of each string, (S,): the mixed sum of its eight-byte words, each mixed with its position."""
    length_S = part["value"].str.len_bytes().to_numpy().astype(np.int64)
    words_S = length_S // 8 + 1
    first_S = np.cumsum(words_S) - words_S
    text = np.frombuffer(part["value"].str.join("").item().encode(), np.uint8)
    padded = np.zeros(8 * int(words_S.sum()), np.uint8)
    padded[np.arange(len(text)) + np.repeat(8 * first_S - (np.cumsum(length_S) - length_S), length_S)] = text
    position_W = np.arange(int(words_S.sum())) - np.repeat(first_S, words_S)
    mixed_W = mix(padded.view("<u8").astype(np.uint64) ^ mix(position_W.astype(np.uint64)))
    return mix(np.add.reduceat(mixed_W, first_S) + length_S.astype(np.uint64))
