"""`polyrec publish`: add a model to those that a server may answer with, and point to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.output import Json, console, print_json


def publish(
    artifact: Annotated[Path, typer.Argument(help="What `polyrec fit` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the models that a server serves.")],
    split: Annotated[
        float | None, typer.Option(help="Share of the users whom it answers, beside the current version.", min=0.001, max=0.999)
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Ask it too, log its lists and show none.")] = False,
    json: Json = False,
) -> None:
    """Publish a model to a folder that a server serves; it answers within a second, without a request lost.

    A running server loads and tries it first, and goes on with what it has where that fails. The newest three versions stay.

    Example: polyrec publish artifact models --split 0.1
    """
    from polyrec.serve.versions.versions import publish, read_pointer

    version = publish(artifact, folder, split=split, shadow=shadow)
    pointer = read_pointer(folder)
    if json:
        print_json({"version": version, "pointer": pointer.model_dump(mode="json")})
        return
    shares = "".join(f", {name} answers {share:.1%}" for name, share in pointer.split.items())
    shadows = "".join(f", {name} in the shadow" for name in pointer.shadow)
    console.print(f"Published {version}: {pointer.current} is current{shares}{shadows}.", highlight=False)
