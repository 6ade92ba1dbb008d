"""`polyrec text-report`: whether texts help, for which tasks and for which items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Data, Items, Query_, Users, source


def text_report(
    spec: Annotated[Path, typer.Argument(help="The declaration, in YAML, with a Text among its features.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the report and of all fits.")],
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds of every arm.", min=1)] = 3,
    test_share: Annotated[float, typer.Option(help="Share of the rows to hold out as test rows.", min=0.01, max=0.9)] = 0.2,
    cold_share: Annotated[float, typer.Option(help="Share of the items to hold out from all fits.", min=0.0, max=0.9)] = 0.1,
    new_share: Annotated[float, typer.Option(help="Share of the users to hold out from all fits.", min=0.0, max=0.9)] = 0.05,
    tail: Annotated[int, typer.Option(help="Largest number of rows to learn from of an item in the tail.", min=0)] = 3,
    ranked_users: Annotated[int, typer.Option(help="Largest number of users for whom the catalogue is ranked.", min=1)] = 2000,
    resamples: Annotated[int, typer.Option(help="Number of bootstrap resamples of the test users.", min=2)] = 200,
    json: Json = False,
) -> None:
    """Compare a declaration with variants: without texts, with only texts, with wrong texts and with TF-IDF.

    All are judged on all test rows, on warm, tail and cold items and on new users. Fits that are already in --out are not
    repeated, so an interrupted report continues.

    Example: polyrec text-report recommender.yaml --data ratings.parquet --items films.parquet --out report
    """
    from polyrec.compare.text.report import arms_by_slices, text_report
    from polyrec.recommender import Recommender

    report = text_report(
        Recommender.from_yaml(spec),
        source(data, query, users, items),
        out,
        seeds=seeds,
        test_share=test_share,
        cold_share=cold_share,
        new_share=new_share,
        tail=tail,
        users=ranked_users,
        resamples=resamples,
    )
    arms_by_slices(report).png(out / "text-report.png")
    if json:
        print_json(report.to_dict())
        return
    console.print(report)
    console.print(f"Wrote {out}: text-report.json, text-report.png, and all fits in runs/.", highlight=False)
