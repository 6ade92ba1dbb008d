"""`polyrec evaluate`: how good an artifact is on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Data, Query_, source


def evaluate(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    data: Data,
    query: Query_ = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Column whose values are judged apart; may be repeated.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for 95 % intervals; 0 for none.", min=0)] = 0,
    ks: Annotated[
        list[int] | None, typer.Option("--k", help="Rank at which the list is judged; may be repeated.", min=1)
    ] = None,
    exposure: Annotated[
        list[str] | None,
        typer.Option("--exposure", help="Column of the items by whose values exposure is told; may be repeated."),
    ] = None,
    ranking: Annotated[bool, typer.Option(help="Judge the fused ranking over all items, too.")] = True,
    json: Json = False,
) -> None:
    """Judge every task and the fused ranking on labelled rows.

    Example: polyrec evaluate artifact --data test.parquet --resamples 200
    """
    from polyrec.recommender import Fitted

    result = Fitted.load(artifact).evaluate(
        source(data, query),
        slices=slices or (),
        resamples=resamples,
        ranking=ranking,
        ks=ks or (10,),
        exposure=exposure or (),
    )
    if json:
        print_json(result.to_dict())
    else:
        console.print(result)
