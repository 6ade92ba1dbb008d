"""`polyrec key`: a new API key."""

from __future__ import annotations

from typing import Annotated

import typer

from polyrec.cli.output import console


def key(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="read, write or admin; may be repeated.")] = None,
) -> None:
    """Make an API key: the key itself, told once, and the entry for the server's file of keys, which holds its hash.

    Example: polyrec key shop --scope read --scope write
    """
    from polyrec.serve.gate.keys import ApiKey, new_key

    made, digest = new_key()
    entry = ApiKey.model_validate({"name": name, "sha256": digest, "scopes": scope or ["read"]})
    console.print(f"The key, which is not stored anywhere: {made}", highlight=False, soft_wrap=True)
    console.print("The entry for the file of keys:\n", highlight=False)
    told = f"- {{name: {entry.name}, sha256: {digest}, scopes: [{', '.join(entry.scopes)}]}}"
    console.print(told, highlight=False, soft_wrap=True, markup=False)
