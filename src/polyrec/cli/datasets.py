"""`polyrec datasets`: named data sets, listed or written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.output import Json, console, print_json


def datasets(
    name: Annotated[str | None, typer.Argument(help="Data set to fetch; none lists them.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for its tables, as Parquet.")] = None,
    json: Json = False,
) -> None:
    """List the named data sets with their terms, or fetch one and write its tables.

    Example: polyrec datasets movielens-100k --out data
    """
    from polyrec import datasets as library
    from polyrec.core.files import write_parquet

    chosen = list(library.DATASETS.values()) if name is None else [library.get(name)]
    if json:
        print_json([{"name": own.name, "title": own.title, "terms": own.terms} for own in chosen])
    else:
        for own in chosen:
            console.print(f"[bold]{own.name}[/bold]: {own.title}\n  [dim]{own.terms}[/dim]")
    if name is not None and out is not None:
        loaded = chosen[0].load()
        for table, frame in (("interactions", loaded.interactions), ("users", loaded.users), ("items", loaded.items)):
            if frame is not None:
                write_parquet(out / f"{table}.parquet", frame)
                if not json:
                    console.print(f"Wrote {out / table}.parquet: {frame.height:,} rows", highlight=False)
