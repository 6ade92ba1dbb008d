"""`polyrec cache`: the text vectors, unpacked models, states and answers that runs share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from polyrec.cli.output import Json, console, print_json


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is listed; texts are then encoded anew.")] = False,
    only: Annotated[str | None, typer.Option("--only", help="One encoder, model or file, by the start of its name.")] = None,
    json: Json = False,
) -> None:
    """List the text vectors, unpacked models, states of frozen layers and written answers that runs share, or remove them.

    Answers of chat endpoints were paid for: --clear leaves them, unless --only names their file.

    Example: polyrec cache --clear --only 3f2a
    """
    from polyrec.language.cache import cached

    found = cached.contents()
    chosen = found if only is None else cached.pick(found, only)
    if clear:
        chosen = cached.remove(chosen, everything=only is None)
    if json:
        print_json({"folder": str(cached.cache_folder()), "removed": clear, **cached.as_json(chosen)})
        return
    table = Table(title=f"{cached.cache_folder()}", title_justify="left")
    for column, side in (("name", "left"), ("what", "left"), ("vectors", "right"), ("cut short", "right"), ("MB", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for kept in chosen.encoders:
        table.add_row(
            kept.encoder[:8], cached.told(kept), f"{kept.vectors:,}", f"{kept.truncated:,}", f"{kept.bytes / 1e6:,.1f}"
        )
    for model in chosen.models:
        table.add_row(model.name[:8], "GGUF file, unpacked", "", "", f"{model.bytes / 1e6:,.1f}")
    for file in chosen.files:
        table.add_row(file.name, file.what, "", "", f"{file.bytes / 1e6:,.1f}")
    console.print(table)
    if clear:
        models, files = len(chosen.models), len(chosen.files)
        console.print(f"Removed {len(chosen.encoders)} encoders' vectors, {models} unpacked models and {files} files")
