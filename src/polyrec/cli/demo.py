"""`polyrec demo`: an example on real data that takes a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import console


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the artifact and the report.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the split and the training.", min=0)] = 0,
) -> None:
    """Train one model for four tasks on MovieLens-100k. Compare it with one model per task.

    Example: polyrec demo --out demo
    """
    from polyrec.demo.run import run

    run(out, seed, console)
