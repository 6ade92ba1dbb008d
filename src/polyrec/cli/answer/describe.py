"""`polyrec describe`: statistics of the features of an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from polyrec.cli.terminal.output import Json, console, print_frame, print_json


def describe(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    json: Json = False,
) -> None:
    """Print statistics of the fitted features. Semantic ids report how well they distinguish items.

    Example: polyrec describe artifact --json
    """
    from polyrec.recommender import Fitted

    parts = Fitted.load(artifact).parts
    states = parts.feature_states
    features = [feature for feature in parts.spec.all_features if feature.name in states]
    described = {feature.name: feature.describe(states[feature.name]) for feature in features}
    described = {name: statistics for name, statistics in described.items() if statistics}
    if json:
        print_json({"features": described})
        return
    for name, statistics in described.items():
        scalars = {key: value for key, value in statistics.items() if not isinstance(value, list)}
        print_frame(pl.DataFrame(scalars), name)
        for key, rows in statistics.items():
            if isinstance(rows, list) and rows:
                print_frame(pl.DataFrame(rows).with_row_index(key, offset=1), f"{name}: {key}")
    if not described:
        console.print("No feature of this artifact has statistics.")
