"""Counts of the texts that a block of code requests, encodes and truncates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Count:
    """Number of texts passed to `encode_cached`. Equal texts of a call count once; blank ones are never encoded nor counted."""

    texts: int = 0
    encoded: int = 0
    """Number of texts that the cache lacked."""
    truncated: int = 0
    """Number of texts that were truncated when they were encoded, now or earlier."""

    @property
    def truncation_rate(self) -> float:
        """Share of truncated texts."""
        return self.truncated / self.texts if self.texts else 0.0


_COUNTS: ContextVar[tuple[Count, ...]] = ContextVar("counts", default=())


@contextmanager
def counting() -> Iterator[Count]:
    """Count all calls of `encode_cached` in a `with` block; the count is complete when the block ends."""
    count = Count()
    token = _COUNTS.set((*_COUNTS.get(), count))
    try:
        yield count
    finally:
        _COUNTS.reset(token)


def count_texts(texts: int, encoded: int, truncated: int) -> None:
    """Add to every open count."""
    for count in _COUNTS.get():
        count.texts += texts
        count.encoded += encoded
        count.truncated += truncated
