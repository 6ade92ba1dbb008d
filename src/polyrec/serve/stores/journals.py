"""The journals of the processes that share a folder: one for each, and those that nobody has any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyrec.core.errors import UserError
from polyrec.serve.stores.journal import Journal, Record, TakenError

_LOGGER = logging.getLogger(__name__)

_MOST = 256
"""Processes that share a folder, at most."""
_TOGETHER = 500
"""Records that are taken over at once."""


def free_journal(path: Path) -> Journal:
    """Return the first journal that no other process has: each process goes on with what an earlier one left."""
    for own in _places(path):
        with suppress(TakenError):
            return Journal(own)
    remedy = "Start fewer workers, or give each machine a folder of its own."
    raise UserError(f"journal '{path}'", expected=f"{_MOST} workers at most", found="more", remedy=remedy)


def lists_beside(path: Path) -> Path:
    """Return where the lists wait that belong to a journal."""
    return path.with_name(f"{path.name}.lists")


def take_over(path: Path, events: Callable[[list[Record]], None], lists: Callable[[list[Record]], None]) -> None:
    """Give the records of journals that nobody has to others, which keep them from then on: events and erasures, and lists.

    Who holds a journal holds its lists, too, so that no process which starts meanwhile finds one free and the other taken. What
    cannot be taken over stays where it is; what is in the way of it is raised. A crash in between brings records twice, which
    changes nothing in a store.
    """
    for own in _places(path):
        beside = lists_beside(own)
        if not (own.exists() or beside.exists()):
            continue
        with _held(own) as left:
            if left is None:
                continue
            _empty(left, events)
            if beside.exists():
                with _held(beside) as left_lists:
                    if left_lists is not None:
                        _empty(left_lists, lists)


def _places(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in range(1, _MOST))


@contextmanager
def _held(path: Path) -> Iterator[Journal | None]:
    """Hold a journal, or none where another has it or it cannot be read."""
    try:
        journal = Journal(path)
    except TakenError:
        yield None
        return
    except (UserError, OSError) as error:
        _LOGGER.warning("what another process left cannot be taken over: %s", error)
        yield None
        return
    try:
        yield journal
    finally:
        journal.close()


def _empty(journal: Journal, keep: Callable[[list[Record]], None]) -> None:
    if not journal.is_empty:
        _LOGGER.warning("%d bytes that another process left in '%s' are taken over", journal.size, journal.path)
    while not journal.is_empty:
        records, position = journal.head(_TOGETHER)
        keep(records)
        journal.drop(position)
