"""Results that print as tables: rendered by rich in terminals and notebooks, as plain text elsewhere."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column
from rich.text import Text

_WIDTH = 120
"""Characters in a line of plain text and of HTML."""

_PAGE = (
    "<pre style=\"white-space: pre; overflow-x: auto; line-height: normal; font-family: Menlo, 'DejaVu Sans Mono', consolas, "
    "'Courier New', monospace\">{code}</pre>"
)


class Printed:
    """Base of results whose text and HTML are rendered by `__rich_console__`."""

    def __str__(self) -> str:
        """Return the tables as plain text."""
        return self._recorded().export_text().rstrip()

    def _repr_html_(self) -> str:
        """Return the tables as HTML, for notebooks."""
        return self._recorded().export_html(inline_styles=True, code_format=_PAGE)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the tables in a terminal."""
        raise NotImplementedError

    def _recorded(self) -> Console:
        console = Console(
            file=io.StringIO(), record=True, width=_WIDTH, color_system=None, force_terminal=False, force_jupyter=False
        )
        console.print(self)
        return console


def numbers(*titles: str | None) -> list[Any]:
    """Return a right-aligned column for each title that is not None."""
    return [Column(Text(title), justify="right") for title in titles if title is not None]
