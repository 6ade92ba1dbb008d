"""`polyrec publish`: add a model version to a folder that a server serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json


def publish(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    folder: Annotated[Path, typer.Argument(help="Folder of model versions that a server serves.")],
    split: Annotated[
        float | None, typer.Option(help="Fraction of users that the new version serves.", min=0.001, max=0.999)
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Log its lists without showing them.")] = False,
    json: Json = False,
) -> None:
    """Publish a model for a server. A running server switches within a second, without a lost request.

    It loads and tests the model first; if that fails, it keeps the current version. The newest three versions are kept.

    Example: polyrec publish artifact models --split 0.1
    """
    from polyrec.serve.versions.versions import publish, read_pointer

    version = publish(artifact, folder, split=split, shadow=shadow)
    pointer = read_pointer(folder)
    if json:
        print_json({"version": version, "pointer": pointer.model_dump(mode="json")})
        return
    shares = "".join(f", {name} serves {share:.1%} of users" for name, share in pointer.split.items())
    shadows = "".join(f", {name} runs as shadow" for name in pointer.shadow)
    console.print(f"Published {version}: {pointer.current} is current{shares}{shadows}.", highlight=False)
