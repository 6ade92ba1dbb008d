"""`polyrec compare`: whether learning tasks together helps, and which network and balancing method are best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Data, Items, Query_, Users, source


def compare(
    spec: Annotated[Path, typer.Argument(help="The declaration, in YAML.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the report and of all fits.")],
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="FIELD=VALUE, the value in YAML: another value of a field; may be repeated."),
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time/--grid", help="Change one field at a time, or combine all values.")
    ] = False,
    test: Annotated[str | None, typer.Option("--test", help="Test rows; by default, --test-share of the data.")] = None,
    test_share: Annotated[float, typer.Option(help="Share of the rows to hold out as test rows.", min=0.01, max=0.9)] = 0.2,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds of every contender.", min=1)] = 5,
    trials: Annotated[int, typer.Option(help="Number of settings that every contender tries with the first seed.", min=1)] = 3,
    jobs: Annotated[int, typer.Option(help="Number of parallel fits, each in a separate process with one thread.", min=1)] = 1,
    resamples: Annotated[int, typer.Option(help="Number of bootstrap resamples of the test users.", min=2)] = 200,
    boosting: Annotated[bool, typer.Option("--boosting", help="Add LightGBM to the comparison.")] = False,
    json: Json = False,
) -> None:
    """Compare a declaration with its variants and with single-task models, at equal budgets.

    Fits that are already in --out are not repeated, so an interrupted comparison continues.

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
        print_json(result.to_dict())
        return
    console.print(result)
    written = f"Wrote {out}: report.html (open it), report.png, report.json, and all fits in runs/."
    console.print(f"{len(result.done)} new fits; all others were already stored. {written}", highlight=False)
