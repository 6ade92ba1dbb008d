"""`polyrec refresh`: train a new version on newer rows."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Items, Query_, Users, source


def refresh(
    folder: Annotated[Path, typer.Argument(help="Folder of model versions that a server serves.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Table of old and new rows, or a database URI with --query.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Address of the server's store, whose events become training rows.")
    ] = None,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Epochs over all rows. Default: a quarter of the declared number.", min=1)
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from initial weights instead of the current ones.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for 95 % intervals.", min=2)] = 200,
    json: Json = False,
) -> None:
    """Train the current version on newer rows and publish it. Nothing is published if a task becomes worse.

    Both versions are evaluated on the newest rows. If no task has metrics there, nothing is published either.

    The exit code is 1 if nothing is published.

    Example: polyrec refresh models --data ratings.parquet
    """
    from polyrec.serve.stores.opening import open_store
    from polyrec.serve.versions.refreshing import refresh

    table = None if data is None else source(data, query, users, items)
    with nullcontext() if store is None else open_store(store) as events:
        result = refresh(folder, table, store=events, epochs=epochs, from_scratch=from_scratch, resamples=resamples)
    if json:
        changes = [{name: _finite(value) for name, value in asdict(change).items()} for change in result.changes]
        print_json({**asdict(result), "changes": changes})
    else:
        grid = Table(title=f"The newest {result.rows:,} rows", title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
        for name in ("task", "metric", "current", "new", "new − current, 95 % interval"):
            grid.add_column(name, justify="left" if name in ("task", "metric") else "right")
        for change in result.changes:
            interval = f"[{change.low:+.4f}, {change.high:+.4f}]" + (" worse" if change.is_worse else "")
            cells = f"{change.before:.4f}", f"{change.after:.4f}", f"{change.after - change.before:+.4f} {interval}"
            grid.add_row(change.task, change.metric, *cells)
        console.print(grid)
        refusal = f"Not published, for {result.reason}. The current version stays in use."
        console.print(f"Published {result.version}." if result.version else refusal)
    raise typer.Exit(0 if result.version else 1)


def _finite(value: str | float) -> str | float | None:
    return value if isinstance(value, str) or isfinite(value) else None
