"""`polyrec prompt`: a language model, asked about the rows of a table, as the baseline of a declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Data, Query_


def prompt(
    spec: Annotated[Path, typer.Argument(help="Declaration, in YAML.")],
    data: Data,
    query: Query_ = None,
    how: Annotated[Path | None, typer.Option("--prompt", help="How to ask, in YAML: model, template, questions.")] = None,
    rows: Annotated[int, typer.Option(help="Rows asked about, drawn at random; 0 for all.", min=0)] = 300,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for 95 % intervals; 0 for none.", min=0)] = 200,
    json: Json = False,
) -> None:
    """Ask a language model about labelled rows, without training, and judge its answers as `evaluate` does.

    Example: polyrec prompt spec.yaml --data test.parquet --rows 300
    """
    from polyrec.compare.zero_shot import Prompt, ask
    from polyrec.data.read.query import Query
    from polyrec.data.read.sources import Source, read
    from polyrec.recommender import Recommender

    rows_of: Source = data if query is None else Query(sql=query, uri=data)
    table = read(rows_of, what="data")
    if 0 < rows < table.height:
        table = table.sample(rows, seed=0)
    asked = ask(Recommender.from_yaml(spec), table, Prompt() if how is None else Prompt.from_yaml(how))
    result = asked.evaluate(resamples)
    if json:
        print_json(result.to_dict())
    else:
        console.print(result)
