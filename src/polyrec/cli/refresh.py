"""`polyrec refresh`: a new version from a table that went on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Data, Items, Query_, Users, source


def refresh(
    folder: Annotated[Path, typer.Argument(help="Folder of the models that a server serves.")],
    data: Data,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the intervals.", min=2)] = 200,
    json: Json = False,
) -> None:
    """Fit the current version anew on a table that holds later rows too, and publish it unless a task is worse on the newest.

    Ends with code 1 where nothing was published.

    Example: polyrec refresh models --data ratings.parquet
    """
    from polyrec.serve.refreshing import refresh

    found = refresh(folder, source(data, query, users, items), resamples=resamples)
    if json:
        print_json(asdict(found))
    else:
        table = Table(title=f"The newest {found.rows:,} rows", title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
        for name in ("task", "metric", "current", "new", "new − current, 95 % interval"):
            table.add_column(name, justify="left" if name in ("task", "metric") else "right")
        for own in found.changes:
            difference = f"{own.after - own.before:+.4f} [{own.low:+.4f}, {own.high:+.4f}]" + (" worse" if own.is_worse else "")
            table.add_row(own.task, own.metric, f"{own.before:.4f}", f"{own.after:.4f}", difference)
        console.print(table)
        console.print(f"Published {found.version}." if found.version else "Not published: the current version goes on.")
    raise typer.Exit(0 if found.version else 1)
