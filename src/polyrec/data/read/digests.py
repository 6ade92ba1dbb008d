"""Digests of files, remembered so that a file that has not changed is not read again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from polyrec.core.cache import cache_folder
from polyrec.core.files import sha256, write_text

_SETTLED = 2.0
"""Seconds since a file's last change from which on a further change is sure to show in its times."""

_WORTH = 2**24
"""Bytes of a file from which on its digest is remembered: a smaller one is read in some hundredths of a second."""


def digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of a file, or that of the SHA-256 of several, one a line."""
    found = [_digest(path) for path in paths]
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _digest(path: Path) -> str:
    """Return a file's SHA-256, read from its bytes or, where path, size, times and inode are those of then, remembered."""
    remembered = _memory(path)
    before = _marks(path)
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(remembered.read_text(encoding="utf-8"))
        if told["marks"] == before:
            return str(told["sha256"])
    found = sha256(path)
    has_settled = time.time() - path.stat().st_mtime > _SETTLED and before == _marks(path)
    if has_settled and before[0] >= _WORTH:
        with suppress(OSError):
            write_text(remembered, json.dumps({"path": str(path.absolute()), "marks": before, "sha256": found}))
    return found


def _memory(path: Path) -> Path:
    """Return the file that remembers the digest of another."""
    return cache_folder() / "digests" / f"{hashlib.sha256(str(path.absolute()).encode()).hexdigest()}.json"


def _marks(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
