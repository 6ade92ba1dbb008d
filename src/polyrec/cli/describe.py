"""`polyrec describe`: what the features of an artifact learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from polyrec.cli.output import Json, console, print_frame, print_json


def describe(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    json: Json = False,
) -> None:
    """Print what the features of an artifact learned, such as how well semantic ids tell items apart.

    Example: polyrec describe artifact --json
    """
    from polyrec.recommender import Fitted

    parts = Fitted.load(artifact).parts
    states = parts.feature_states
    told = {own.name: own.describe(states[own.name]) for own in parts.spec.all_features if own.name in states}
    told = {name: figures for name, figures in told.items() if figures}
    if json:
        print_json({"features": told})
        return
    for name, figures in told.items():
        single = {figure: value for figure, value in figures.items() if not isinstance(value, list)}
        print_frame(pl.DataFrame(single), name)
        for figure, rows in figures.items():
            if isinstance(rows, list) and rows:
                print_frame(pl.DataFrame(rows).with_row_index(figure, offset=1), f"{name}: {figure}")
    if not told:
        console.print("No feature of this artifact has figures of its own.")
