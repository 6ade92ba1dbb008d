"""`polyrec predict`: write predictions for the rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import console
from polyrec.cli.terminal.sources import Data, Query_, source
from polyrec.core.errors import UserError
from polyrec.core.files import replacing, write_parquet


def predict(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="File for the predictions, .parquet or .csv.")],
    query: Query_ = None,
) -> None:
    """Predict every task for every row of a table. The output has the order of the rows.

    Example: polyrec predict artifact --data candidates.parquet --out scores.parquet
    """
    from polyrec.recommender import Fitted

    if out.suffix not in (".parquet", ".csv"):
        remedy = "Use one of these file extensions."
        raise UserError(f"file '{out}'", expected="a name in .parquet or .csv", found=f"{out.suffix!r}", remedy=remedy)
    predictions = Fitted.load(artifact).predict(source(data, query))
    if out.suffix == ".parquet":
        write_parquet(out, predictions)
    else:
        with replacing(out) as temporary:
            predictions.write_csv(temporary)
    console.print(f"Wrote {predictions.height:,} rows to {out}: {', '.join(predictions.columns)}", highlight=False)
