"""`polyrec fit`: train a declared recommender on a table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import console
from polyrec.cli.terminal.sources import Data, Items, Query_, Users, Validation, source


def fit(
    spec: Annotated[Path, typer.Argument(help="Declaration of the recommender, in YAML.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for the artifact.")],
    validation: Validation = None,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint of an interrupted run.")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="HTML file for training curves and calibration.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Hide the progress bar.")] = False,
) -> None:
    """Train a recommender on a table and write an artifact.

    Example: polyrec fit recommender.yaml --data ratings.parquet --out artifact
    """
    from polyrec.recommender import Recommender

    recommender = Recommender.from_yaml(spec)
    checkpoint = out.with_name(out.name + ".checkpoint")
    fitted = recommender.fit(
        source(data, query, users, items), validation, checkpoint=checkpoint, resume=resume, progress=not quiet
    )
    fitted.save(out)
    shutil.rmtree(checkpoint, ignore_errors=True)
    if report is not None:
        from polyrec.report.training_page import write_training_page

        write_training_page(report, fitted)
    facts = fitted.parts.facts.training
    console.print(f"Epoch {facts.best_epoch} of {len(facts.curves)} was best on validation:")
    for name, value in facts.validation.items():
        console.print(f"  {name} {value:.4f}", highlight=False)
    console.print(f"Wrote {out}. Next: polyrec evaluate, predict or recommend; card.md describes the model.")
