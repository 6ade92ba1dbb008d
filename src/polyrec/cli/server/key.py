"""`polyrec key`: create an API key for the server."""

from __future__ import annotations

from typing import Annotated

import typer

from polyrec.cli.terminal.output import console


def key(
    name: Annotated[str, typer.Argument(help="Name of its owner.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="read (default), write or admin; may be repeated.")] = None,
) -> None:
    """Create an API key for the server. Print the key once, and its hash as an entry for the key file.

    Example: polyrec key shop --scope read --scope write
    """
    from polyrec.serve.gate.keys import ApiKey, new_key

    new, digest = new_key()
    entry = ApiKey.model_validate({"name": name, "sha256": digest, "scopes": scope or ["read"]})
    console.print(f"API key, which is not stored anywhere: {new}", highlight=False, soft_wrap=True)
    console.print("Entry for the key file:\n", highlight=False)
    text = f"- {{name: {entry.name}, sha256: {digest}, scopes: [{', '.join(entry.scopes)}]}}"
    console.print(text, highlight=False, soft_wrap=True, markup=False)
