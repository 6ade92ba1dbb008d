"""`polyrec recommend`: the best items for one user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polyrec.cli.options import numbers
from polyrec.cli.output import Json, print_frame, print_json
from polyrec.core.errors import UserError


def recommend(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    user: Annotated[
        str | None, typer.Option("--user", help="Key of the user; leave out for one who is only described.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1)] = 10,
    given: Annotated[list[str] | None, typer.Option("--set", help="COLUMN=VALUE known of the user; may be repeated.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition on the items' columns.")] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help="Item column to show; may be repeated.")] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weight", help="NAME=NUMBER, a weight of the fusion; may be repeated.")
    ] = None,
    seen: Annotated[bool, typer.Option("--seen", help="Keep items that the user has met.")] = False,
    json: Json = False,
) -> None:
    """List the best items for one user, known or new.

    Example: polyrec recommend artifact --user 42 -k 10 --column title
    """
    from polyrec.recommender import Fitted

    fitted = Fitted.load(artifact)
    known: dict[str, Any] = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"option --set {pair}", expected="COLUMN=VALUE", found="no '='", remedy="Write --set age=30.")
        known[name] = value
    if user is not None:
        known[fitted.user_key] = user
    shown = [c for c in fitted.items.columns if c in ("title", "name")] if columns is None else columns
    top = fitted.recommend(k, exclude_seen=not seen, where=where, columns=shown, weights=numbers(weights, "--weight"), **known)
    if json:
        print_json({"user": user, "items": top.to_dicts()})
    else:
        print_frame(top, f"Top {top.height} for {user if user is not None else 'a new user'}")
