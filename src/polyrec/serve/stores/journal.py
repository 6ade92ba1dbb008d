"""`Journal`: a file that keeps records while the store is down."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from polyrec.core.errors import UserError
from polyrec.core.files import replacing, sync
from polyrec.serve.stores.group_commit import GroupCommit
from polyrec.serve.stores.records import Event, ServedItem, ServedList
from polyrec.serve.stores.store import UnavailableError

_HEADER = b"polyrec journal 1\n"

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Appending:
    """Events, and when they were acknowledged."""

    at: float
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Erasing:
    """The erasure of a user, and when it was acknowledged."""

    at: float
    user: str


@dataclass(frozen=True)
class Serving:
    """A served list."""

    served: ServedList


Record = Appending | Erasing | Serving


class TakenError(UserError):
    """Another process has the journal open."""


class Journal:
    """An append-only file of one process: records are on the disk, in order, once `add` returns, until `drop` removes them.

    Each record is a line: its CRC-32, a space, JSON. A truncated last line was not acknowledged and is removed when the file is
    opened. Any other damaged line is reported and moved to a file `.damaged` next to the journal; the lines around it are kept.
    Records of concurrent threads are flushed together (`GroupCommit`).

    Raises `UnavailableError` if the journal would exceed `limit` bytes or the disk is full, `TakenError` if another process has
    it open, `UserError` if the file is not a journal.
    """

    def __init__(self, path: Path, limit: int = 256 * 2**20) -> None:
        self.path, self.limit = path, limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = path.with_name(f"{path.name}.lock").open("wb")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists():
                with replacing(path) as temporary:
                    temporary.write_bytes(_HEADER)
            self._repair()
            self._file = os.open(path, os.O_RDWR)
        except BlockingIOError:
            self._lock_file.close()
            remedy = "Give each process a separate journal."
            raise TakenError(f"journal '{path}'", expected="one process", found="another has it open", remedy=remedy) from None
        except BaseException:
            self._lock_file.close()
            raise
        self._start = len(_HEADER)
        self._emptied = 0
        self._end = os.fstat(self._file).st_size
        self._lock = Lock()
        self._add = GroupCommit(self._write)

    @property
    def is_empty(self) -> bool:
        """Whether no record waits."""
        return self._start == self._end

    @property
    def size(self) -> int:
        """Bytes of the waiting records."""
        return self._end - self._start

    def add(self, *records: Record) -> None:
        """Append records, all or none, and return once they are on the disk."""
        self._add(b"".join(map(_line, records)))

    def head(self, most: int) -> tuple[list[Record], int]:
        """Return the first records, at most `most`, and the position behind them, for `drop` once they are stored elsewhere."""
        with self._lock:
            start, end, emptied = self._start, self._end, self._emptied
        lines = list(islice(self._lines(start, end), most))
        return self._intact(lines), emptied + start + sum(map(len, lines))

    def __iter__(self) -> Iterator[Record]:
        return (record for line in self._lines(self._start, self._end) for record in self._intact([line]))

    def drop(self, position: int) -> None:
        """Drop the records before a position. The file is truncated once none is left; until then a crash restores them."""
        with self._lock:
            self._start = max(position - self._emptied, self._start)
            if self._start == self._end:
                self._empty()

    def clear(self) -> int:
        """Drop all waiting records, and return their number."""
        with self._lock:
            count = sum(1 for _ in self._lines(self._start, self._end))
            self._empty()
        return count

    def set_aside(self, record: Record) -> None:
        """Write a record that the store refuses to the file `.damaged`, so that it is not lost."""
        self._set_aside([_line(record)])

    def close(self) -> None:
        """Close the file; waiting records stay in it."""
        os.close(self._file)
        self._lock_file.close()

    def _empty(self) -> None:
        os.ftruncate(self._file, len(_HEADER))
        os.fdatasync(self._file)
        self._emptied += self._end
        self._start = self._end = len(_HEADER)

    def _write(self, lines: Sequence[bytes]) -> list[None]:
        content = b"".join(lines)
        with self._lock:
            if self._end + len(content) > self.limit:
                raise self._full(f"{self.size} bytes waiting for the store, of {self.limit}")
            try:
                written = 0
                while written < len(content):
                    written += os.pwrite(self._file, content[written:], self._end + written)
                os.fdatasync(self._file)
            except OSError as error:
                # The next record overwrites the unacknowledged bytes; truncation hides them from a restart after a crash, too.
                with suppress(OSError):
                    os.ftruncate(self._file, self._end)
                raise self._full(error.strerror or str(error)) from error
            self._end += len(content)
        return [None] * len(lines)

    def _lines(self, start: int, end: int) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(start)
            while start < end and (line := file.readline()):
                start += len(line)
                yield line

    def _repair(self) -> None:
        """Remove damaged and truncated lines from the file."""
        size = self.path.stat().st_size
        lines = list(self._lines(0, size))
        if not lines or lines[0] != _HEADER:
            found, remedy = repr(lines[0][:40]) if lines else "an empty file", "Name another file."
            raise UserError(f"journal '{self.path}'", expected=f"{_HEADER!r}", found=found, remedy=remedy)
        intact = self._intact([line for line in lines[1:] if line.endswith(b"\n")])
        if len(intact) < len(lines) - 1:
            with replacing(self.path) as temporary:
                temporary.write_bytes(b"".join([_HEADER, *map(_line, intact)]))

    def _intact(self, lines: Sequence[bytes]) -> list[Record]:
        """Return the records of lines, and set damaged lines aside."""
        records = [_record(line) for line in lines]
        damaged = [line for line, record in zip(lines, records, strict=True) if record is None]
        if damaged:
            message = "journal '%s': %d of %d records are damaged; they were moved to '%s'"
            _LOGGER.error(message, self.path, len(damaged), len(lines), self._damaged)
            self._set_aside(damaged)
        return [record for record in records if record is not None]

    @property
    def _damaged(self) -> Path:
        return self.path.with_name(f"{self.path.name}.damaged")

    def _set_aside(self, lines: list[bytes]) -> None:
        with self._damaged.open("ab") as file:
            file.write(b"".join(lines))
        sync(self._damaged)

    def _full(self, found: str) -> UnavailableError:
        remedy = "Restart the store, or free space on the disk; the same call may succeed later."
        return UnavailableError(f"journal '{self.path}'", expected="room for another record", found=found, remedy=remedy)


def _line(record: Record) -> bytes:
    if isinstance(record, Erasing):
        content: dict[str, Any] = {"at": record.at, "erase": record.user}
    elif isinstance(record, Serving):
        content = {"serve": record.served.model_dump()}
    else:
        content = {"at": record.at, "append": [event.model_dump() for event in record.events]}
    body = json.dumps(content, ensure_ascii=False).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _record(line: bytes) -> Record | None:
    """Return the record of a line, or none if the line is damaged."""
    body = line[9:-1]
    if line != b"%08x %b\n" % (zlib.crc32(body), body):
        return None
    content = json.loads(body)
    if "erase" in content:
        return Erasing(content["at"], content["erase"])
    if "serve" in content:
        items = tuple(ServedItem.model_construct(**item) for item in content["serve"].pop("items"))
        return Serving(ServedList.model_construct(**content["serve"], items=items))
    return Appending(content["at"], tuple(Event.model_construct(**event) for event in content["append"]))
