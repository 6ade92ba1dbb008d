"""`polyrec refresh`: a new version from rows that came later."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Items, Query_, Users, source


def refresh(
    folder: Annotated[Path, typer.Argument(help="Folder of the models that a server serves.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Table of the known rows and later ones, or a database's URI with --query.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Address of the server's store: its events are rows to learn from.")
    ] = None,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes over all rows; unset, a quarter of the declared.", min=1)
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Fit the declaration anew instead of going on from the current weights.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the intervals.", min=2)] = 200,
    json: Json = False,
) -> None:
    """Train the current version on with rows that came later, and publish it unless a task is worse on the newest.

    Where no task can be judged on them, nothing is published either.

    Ends with code 1 where nothing was published.

    Example: polyrec refresh models --data ratings.parquet
    """
    from polyrec.serve.stores.opening import open_store
    from polyrec.serve.versions.refreshing import refresh

    given = None if data is None else source(data, query, users, items)
    with nullcontext() if store is None else open_store(store) as events:
        found = refresh(folder, given, store=events, epochs=epochs, from_scratch=from_scratch, resamples=resamples)
    if json:
        changes = [{name: _finite(value) for name, value in asdict(own).items()} for own in found.changes]
        print_json({**asdict(found), "changes": changes})
    else:
        table = Table(title=f"The newest {found.rows:,} rows", title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
        for name in ("task", "metric", "current", "new", "new − current, 95 % interval"):
            table.add_column(name, justify="left" if name in ("task", "metric") else "right")
        for own in found.changes:
            difference = f"{own.after - own.before:+.4f} [{own.low:+.4f}, {own.high:+.4f}]" + (" worse" if own.is_worse else "")
            table.add_row(own.task, own.metric, f"{own.before:.4f}", f"{own.after:.4f}", difference)
        console.print(table)
        refused = f"Not published, for {found.reason}. The current version goes on."
        console.print(f"Published {found.version}." if found.version else refused)
    raise typer.Exit(0 if found.version else 1)


def _finite(value: str | float) -> str | float | None:
    return value if isinstance(value, str) or isfinite(value) else None
