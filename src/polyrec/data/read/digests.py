"""SHA-256 digests of files, cached so that an unchanged file is not read again."""

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
"""Age in seconds of a file's last change from which a further change is certain to alter its timestamps."""

_WORTH = 2**24
"""Smallest file size in bytes whose digest is cached: a smaller file is read in a few hundredths of a second."""


def digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; for several files, the SHA-256 of their digests, one per line."""
    digests = [_digest(path) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _digest(path: Path) -> str:
    """Return a file's SHA-256, from the cache if path, size, timestamps and inode are unchanged."""
    cached = _memory(path)
    before = _marks(path)
    with suppress(OSError, ValueError, KeyError, TypeError):
        entry = json.loads(cached.read_text(encoding="utf-8"))
        if entry["marks"] == before:
            return str(entry["sha256"])
    checksum = sha256(path)
    has_settled = time.time() - path.stat().st_mtime > _SETTLED and before == _marks(path)
    if has_settled and before[0] >= _WORTH:
        with suppress(OSError):
            write_text(cached, json.dumps({"path": str(path.absolute()), "marks": before, "sha256": checksum}))
    return checksum


def _memory(path: Path) -> Path:
    """Return the file that caches the digest of another file."""
    return cache_folder() / "digests" / f"{hashlib.sha256(str(path.absolute()).encode()).hexdigest()}.json"


def _marks(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
