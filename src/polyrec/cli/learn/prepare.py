"""`polyrec prepare`: convert Parquet files to prepared columns before a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.sources import Data, Items, Users, Validation, source


def prepare(
    spec: Annotated[Path, typer.Argument(help="Declaration of the recommender, in YAML.")],
    data: Data,
    validation: Validation = None,
    users: Users = None,
    items: Items = None,
) -> None:
    """Prepare Parquet files on disk for faster fits. Print the folder of the prepared table.

    Example: polyrec prepare recommender.yaml --data ratings.parquet
    """
    from polyrec.recommender import Recommender

    typer.echo(Recommender.from_yaml(spec).prepare(source(data, None, users, items), validation))
