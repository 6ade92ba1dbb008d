"""`polyrec datasets`: list the named data sets, or write one to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json


def datasets(
    name: Annotated[str | None, typer.Argument(help="Data set to download; omit it to list all data sets.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for its tables, as Parquet files.")] = None,
    json: Json = False,
) -> None:
    """List the named data sets, or download one. The list has their terms of use.

    Example: polyrec datasets movielens-100k --out data
    """
    from polyrec import datasets as library
    from polyrec.core.files import write_parquet

    chosen = list(library.DATASETS.values()) if name is None else [library.get(name)]
    if json:
        print_json([{"name": dataset.name, "title": dataset.title, "terms": dataset.terms} for dataset in chosen])
    else:
        for dataset in chosen:
            console.print(f"[bold]{dataset.name}[/bold]: {dataset.title}\n  [dim]{dataset.terms}[/dim]")
    if name is not None and out is not None:
        loaded = chosen[0].load()
        for table, frame in (("interactions", loaded.interactions), ("users", loaded.users), ("items", loaded.items)):
            if frame is not None:
                write_parquet(out / f"{table}.parquet", frame)
                if not json:
                    console.print(f"Wrote {out / table}.parquet: {frame.height:,} rows", highlight=False)
