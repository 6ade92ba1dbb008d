"""How many texts were asked for, encoded and cut short while a stretch of code ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Count:
    """Texts met by `encode_cached`; equal texts of one call are one, and blank ones, which are never encoded, none."""

    texts: int = 0
    encoded: int = 0
    """Of them, those that the cache did not hold."""
    truncated: int = 0
    """Of them, those whose end was not read, now or when they were encoded."""

    @property
    def truncation_rate(self) -> float:
        """Share of texts whose end was not read."""
        return self.truncated / self.texts if self.texts else 0.0


_COUNTS: ContextVar[tuple[Count, ...]] = ContextVar("counts", default=())


@contextmanager
def counting() -> Iterator[Count]:
    """Count what `encode_cached` does within, whoever calls it; the count is whole when the block ends."""
    count = Count()
    token = _COUNTS.set((*_COUNTS.get(), count))
    try:
        yield count
    finally:
        _COUNTS.reset(token)


def tell(texts: int, encoded: int, truncated: int) -> None:
    """Add to every count that is running."""
    for count in _COUNTS.get():
        count.texts += texts
        count.encoded += encoded
        count.truncated += truncated
