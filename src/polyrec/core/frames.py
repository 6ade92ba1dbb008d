"""Packing of a frame into one value of another frame, and hashes of frames."""

from __future__ import annotations

import hashlib

import polars as pl


def pack(frame: pl.DataFrame) -> pl.Series:
    """Return a series of one value, the list of the frame's rows; null if the frame has no columns."""
    if frame.width == 0:
        return pl.Series([None], dtype=pl.Null)
    return pl.Series([frame.to_struct()])


def unpack(packed: pl.Series) -> pl.DataFrame:
    """Return the frame packed by `pack`."""
    (rows,) = packed
    return pl.DataFrame() if rows is None else rows.struct.unnest()


def frame_hash(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of a frame's Arrow stream: equal values, types and order give equal hashes."""
    sink = hashlib.sha256()

    class _Sink:
        def write(self, data: bytes) -> int:
            sink.update(data)
            return len(data)

    frame.rechunk().write_ipc_stream(_Sink())  # type: ignore[call-overload]
    return sink.hexdigest()
