"""The journals of processes that share a folder: one per live process, and those left by ended processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyrec.core.errors import UserError
from polyrec.serve.stores.journal import Journal, Record, TakenError

_LOGGER = logging.getLogger(__name__)

_MOST = 256
"""Largest number of processes that share a folder."""
_TOGETHER = 500
"""Number of records taken over at once."""


def free_journal(path: Path) -> Journal:
    """Return the first journal that no other process has open; it may contain records of an ended process."""
    for place in _places(path):
        with suppress(TakenError):
            return Journal(place)
    remedy = "Start fewer workers, or give each machine a separate folder."
    raise UserError(f"journal '{path}'", expected=f"at most {_MOST} workers", found="more", remedy=remedy)


def lists_beside(path: Path) -> Path:
    """Return the path of the journal of lists that belongs to a journal."""
    return path.with_name(f"{path.name}.lists")


def take_over(path: Path, events: Callable[[list[Record]], None], lists: Callable[[list[Record]], None]) -> None:
    """Move the records of journals without a process: events and erasures to `events`, lists to `lists`, which must store them.

    A journal is locked while its lists are moved, so that a process starting meanwhile finds either both free or none. Records
    that cannot be moved stay in place, and the error is raised. A crash in between duplicates records, which changes nothing in
    a store.
    """
    for place in _places(path):
        lists_path = lists_beside(place)
        if not (place.exists() or lists_path.exists()):
            continue
        with _held(place) as left:
            if left is None:
                continue
            _empty(left, events)
            if lists_path.exists():
                with _held(lists_path) as left_lists:
                    if left_lists is not None:
                        _empty(left_lists, lists)


def _places(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in range(1, _MOST))


@contextmanager
def _held(path: Path) -> Iterator[Journal | None]:
    """Open a journal for a block; none if another process has it open or it cannot be read."""
    try:
        journal = Journal(path)
    except TakenError:
        yield None
        return
    except (UserError, OSError) as error:
        _LOGGER.warning("records of an ended process cannot be taken over: %s", error)
        yield None
        return
    try:
        yield journal
    finally:
        journal.close()


def _empty(journal: Journal, keep: Callable[[list[Record]], None]) -> None:
    if not journal.is_empty:
        _LOGGER.warning("%d bytes of an ended process in '%s' are taken over", journal.size, journal.path)
    while not journal.is_empty:
        records, position = journal.head(_TOGETHER)
        keep(records)
        journal.drop(position)
