"""Results that print as tables: by rich in a terminal, and as plain text everywhere else."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column
from rich.text import Text


class Printed:
    """A result whose text is the output of `__rich_console__`."""

    def __str__(self) -> str:
        """Return the tables as plain text."""
        console = Console(width=110, color_system=None, force_terminal=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get().rstrip()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the tables in a terminal."""
        raise NotImplementedError


def numbers(*titles: str | None) -> list[Any]:
    """Return columns of numbers, one per title that is not None."""
    return [Column(Text(title), justify="right") for title in titles if title is not None]
