"""Progress bars on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Timer
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

DELAY = 0.5
"""Seconds after which a bar appears."""

_one_bar = Lock()
"""Held while a bar is shown. A nested bar stays hidden, since both would write to the same lines."""


@dataclass(frozen=True)
class Bar:
    """A progress bar, shown or hidden."""

    progress: Progress
    line: TaskID

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count` to the number completed and replace the note at the end of the line."""
        self.progress.update(self.line, advance=count, note=note)

    def move(self, completed: int, note: str = "") -> None:
        """Set the number completed and replace the note at the end of the line."""
        self.progress.update(self.line, completed=completed, note=note)


@contextmanager
def progress_bar(title: str, total: int, *, completed: int = 0, unit: str = "", disable: bool = False) -> Iterator[Bar]:
    """Yield a bar up to `total`, such as `training ━━━━ 3/20 epochs 0:00:12`, and remove it at the end.

    The bar is shown if standard error is a terminal and the work takes longer than `DELAY`. Set `disable` to hide it always.
    """
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)]
    times = [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")]
    progress = Progress(*columns, *times, console=console, transient=True)
    bar = Bar(progress, progress.add_task(title, total=total, completed=completed, note=""))
    if disable or not console.is_terminal or not _one_bar.acquire(blocking=False):
        yield bar
        return
    timer = Timer(DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        timer.join()
        if progress.live.is_started:
            progress.stop()
        _one_bar.release()


def tracked(items: Sequence[T], title: str, *, disable: bool = False) -> Iterator[T]:
    """Yield the items one by one while a bar counts the completed ones."""
    with progress_bar(title, len(items), disable=disable) as bar:
        for item in items:
            yield item
            bar.advance()
