"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

console = Console()
errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def print_json(value: Any) -> None:
    """Print one JSON document; NaN and infinity raise `ValueError`, since they are not valid JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1))


def print_frame(frame: pl.DataFrame, title: str) -> None:
    """Print a frame as a table, with four decimals and joined lists."""
    table = Table(title=title, title_justify="left")
    for name, kind in frame.schema.items():
        table.add_column(name, justify="right" if kind.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
