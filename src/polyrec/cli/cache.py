"""`polyrec cache`: list or remove cached text vectors, unpacked models, layer states and answers."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from polyrec.cli.terminal.output import Json, console, print_json


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove the listed entries; texts are then encoded again.")] = False,
    only: Annotated[str | None, typer.Option("--only", help="One encoder, model or file, by the start of its name.")] = None,
    json: Json = False,
) -> None:
    """List cached files, or remove them. The cache has text vectors, unpacked models, layer states and answers.

    --clear keeps answers of paid chat endpoints, unless --only selects their file.

    Example: polyrec cache --clear --only 3f2a
    """
    from polyrec.language.cache import cached

    contents = cached.contents()
    chosen = contents if only is None else cached.pick(contents, only)
    if clear:
        chosen = cached.remove(chosen, everything=only is None)
    if json:
        print_json({"folder": str(cached.cache_folder()), "removed": clear, **cached.as_json(chosen)})
        return
    table = Table(title=f"{cached.cache_folder()}", title_justify="left")
    for column, side in (("name", "left"), ("what", "left"), ("vectors", "right"), ("cut short", "right"), ("MB", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for encoder in chosen.encoders:
        table.add_row(
            encoder.encoder[:8],
            cached.told(encoder),
            f"{encoder.vectors:,}",
            f"{encoder.truncated:,}",
            f"{encoder.bytes / 1e6:,.1f}",
        )
    for model in chosen.models:
        table.add_row(model.name[:8], "GGUF file, unpacked", "", "", f"{model.bytes / 1e6:,.1f}")
    for file in chosen.files:
        table.add_row(file.name, file.what, "", "", f"{file.bytes / 1e6:,.1f}")
    console.print(table)
    if clear:
        models, files = len(chosen.models), len(chosen.files)
        console.print(f"Removed {len(chosen.encoders)} encoders' vectors, {models} unpacked models and {files} files")
