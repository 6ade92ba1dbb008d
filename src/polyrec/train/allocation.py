"""Memory that steps hand on to one another."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of the two settings in glibc's `mallopt`."""

_KEPT = 2**31 - 1
_LARGEST = 2**25
"""Bytes of the largest block that glibc can keep: 32 MiB."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory for the next step for the time being, and give it back at the end.

    A step frees as much memory as the next one asks for. Left alone, glibc returns the larger blocks to the system each time,
    which then fills them with zeros anew, page by page: a fifth of a step on a model of usual size. Where the allocator is
    another one nothing is changed.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2**17)
        library.malloc_trim(0)
