"""`polyrec demo`: the main job on real data, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.output import console


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the artifact and the report.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of split and training.", min=0)] = 0,
) -> None:
    """Train one model for three tasks on MovieLens-100k, and say whether learning together helped.

    Example: polyrec demo --out demo
    """
    from polyrec.demo.run import run

    run(out, seed, console)
