"""`polyrec evaluate`: metrics of an artifact on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Data, Query_, source


def evaluate(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    data: Data,
    query: Query_ = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Column by whose values metrics are also reported; may be repeated.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for 95 % intervals; 0 omits intervals.", min=0)] = 0,
    ks: Annotated[
        list[int] | None, typer.Option("--k", help="Cutoff of the ranking metrics; may be repeated. Default: 10.", min=1)
    ] = None,
    exposure: Annotated[
        list[str] | None,
        typer.Option("--exposure", help="Item column by whose values exposure is reported; may be repeated."),
    ] = None,
    ranking: Annotated[bool, typer.Option(help="Also evaluate the fused ranking of all items.")] = True,
    json: Json = False,
) -> None:
    """Evaluate every task and the fused ranking on labelled rows.

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
