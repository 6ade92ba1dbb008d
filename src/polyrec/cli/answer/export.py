"""`polyrec export`: write the model of an artifact for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import console


def export(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    out: Annotated[Path, typer.Option("--out", help="File for the model; OUT.json next to it lists inputs and outputs.")],
    form: Annotated[str, typer.Option("--format", help="onnx, or torch for torch.export.load.")] = "onnx",
) -> None:
    """Export a model to ONNX or torch.export. It maps feature tensors to predictions and the fused score.

    Example: polyrec export artifact --format onnx --out model.onnx
    """
    from polyrec.recommender import Fitted

    Fitted.load(artifact).export(out, form)
    console.print(f"Wrote {out} and {out.name}.json", highlight=False)
