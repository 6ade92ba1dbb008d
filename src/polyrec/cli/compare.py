"""`polyrec compare`: does learning together help, and which way of it?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Data, Items, Query_, Users, source


def compare(
    spec: Annotated[Path, typer.Argument(help="The declaration, in YAML.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the report and of all fits.")],
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="FIELD=VALUE in YAML: a value that a field is to take, too; may be repeated."),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time/--grid", help="Change one field at a time, or try all combinations.")
    ] = False,
    test: Annotated[str | None, typer.Option("--test", help="Test rows; else --test-share of the data is held out.")] = None,
    test_share: Annotated[float, typer.Option(help="Share of the rows to test on.", min=0.01, max=0.9)] = 0.2,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    seeds: Annotated[int, typer.Option(help="Seeds of every contender.", min=1)] = 5,
    trials: Annotated[int, typer.Option(help="Settings that every contender may try on the first seed.", min=1)] = 3,
    jobs: Annotated[int, typer.Option(help="Fits at a time, each in a process of its own with one thread.", min=1)] = 1,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the test users.", min=2)] = 200,
    boosting: Annotated[bool, typer.Option("--boosting", help="Compare with LightGBM, too.")] = False,
    json: Json = False,
) -> None:
    """Compare a declaration with variants of it and with one model a task, at equal budgets.

    What --out holds of an interrupted comparison is not done again.

    Example: polyrec compare recommender.yaml --data ratings.parquet --vary network=SharedBottom --jobs 2 --out comparison
    """
    from polyrec.compare.run import compare
    from polyrec.compare.vary import read_options
    from polyrec.recommender import Recommender

    result = compare(
        Recommender.from_yaml(spec),
        source(data, query, users, items),
        out,
        varied=read_options(vary or ()),
        test=test,
        test_share=test_share,
        one_at_a_time=one_at_a_time,
        seeds=seeds,
        trials=trials,
        jobs=jobs,
        boosting=boosting,
        resamples=resamples,
    )
    if json:
        print_json(result.document)
        return
    _tell(result.document)
    written = f"Wrote {out}: report.html (open it), report.png, report.json, and all fits in runs/."
    console.print(f"{len(result.done)} fits done now, the others before. {written}", highlight=False)


def _tell(document: Mapping[str, Any]) -> None:
    from polyrec.compare.reading import arrow, figure_of, full_name, headlines, row_name
    from polyrec.compare.wording import gain, interval, number, signed, summary

    for task, metric, told in headlines(document):
        title = f"{task}: {metric} {arrow(told, metric)} on {told['test_rows']:,} test rows"
        table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
        table.add_column("contender")
        for name in ("mean", "difference, 95 % interval", "gain", "verdict"):
            table.add_column(name, justify="right", no_wrap=True)
        for own in document["contenders"]:
            if figure := figure_of(own, task, metric):
                difference = f"{signed(figure.get('difference'))} {interval(figure)}".strip()
                cells = [number(figure["mean"]), difference, gain(figure), figure.get("verdict") or ""]
                table.add_row(Text(row_name(own)), *cells, style="bold" if own["own"] else None)
        console.print(table)
    console.print(summary(document), style="dim")
    for own in document["contenders"]:
        if own["error"]:
            console.print(f"{full_name(own)} failed: {own['error']}", highlight=False, markup=False)
