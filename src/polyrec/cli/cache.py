"""`polyrec cache`: the text vectors and unpacked models that runs share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from polyrec.cli.output import Json, console, print_json


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is listed; texts are then encoded anew.")] = False,
    only: Annotated[str | None, typer.Option("--only", help="One encoder or model, by the start of its name.")] = None,
    json: Json = False,
) -> None:
    """List the text vectors and unpacked models that runs share, or remove them.

    Example: polyrec cache --clear --only 3f2a
    """
    from polyrec.language import cached

    found = cached.contents()
    chosen = found if only is None else cached.pick(found, only)
    if clear:
        cached.remove(chosen, everything=only is None)
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
    console.print(table)
    if clear:
        console.print(f"Removed {len(chosen.encoders)} encoders' vectors and {len(chosen.models)} unpacked models")
