"""The options that say where a table is, shared by the commands that read one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.data.read.query import Query
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables

Data = Annotated[
    str, typer.Option("--data", help="File, folder or glob (Parquet, CSV, Arrow), or a database's URI with --query.")
]
Query_ = Annotated[str | None, typer.Option("--query", help="SQL query that gives the rows, where --data is a database's URI.")]
Users = Annotated[Path | None, typer.Option("--users", help="User table, joined by the user's key.")]
Validation = Annotated[str | None, typer.Option("--validation", help="Validation rows; else training.split takes them.")]
Items = Annotated[Path | None, typer.Option("--items", help="Item table, joined by the item's key.")]


def source(data: str, query: str | None = None, users: Path | None = None, items: Path | None = None) -> Source | Tables:
    """Return what the options describe."""
    interactions: Source = data if query is None else Query(sql=query, uri=data)
    return interactions if users is None and items is None else Tables(interactions, users, items)
