"""`polyrec prompt`: evaluate a zero-shot language model as the baseline of a declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Data, Query_


def prompt(
    spec: Annotated[Path, typer.Argument(help="Declaration of the recommender, in YAML.")],
    data: Data,
    query: Query_ = None,
    how: Annotated[Path | None, typer.Option("--prompt", help="Prompt, in YAML: encoder, template, questions.")] = None,
    rows: Annotated[int, typer.Option(help="Number of rows to ask about, drawn at random; 0 for all.", min=0)] = 300,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for 95 % intervals; 0 omits intervals.", min=0)] = 200,
    json: Json = False,
) -> None:
    """Evaluate a zero-shot language model on labelled rows. Its metrics are those of `evaluate`.

    Example: polyrec prompt spec.yaml --data test.parquet --rows 300
    """
    from polyrec.compare.zero_shot import Prompt, ask
    from polyrec.data.read.query import Query
    from polyrec.data.read.sources import Source, read
    from polyrec.recommender import Recommender

    labelled: Source = data if query is None else Query(sql=query, uri=data)
    table = read(labelled, what="data")
    if 0 < rows < table.height:
        table = table.sample(rows, seed=0)
    answers = ask(Recommender.from_yaml(spec), table, Prompt() if how is None else Prompt.from_yaml(how))
    result = answers.evaluate(resamples)
    if json:
        print_json(result.to_dict())
    else:
        console.print(result)
