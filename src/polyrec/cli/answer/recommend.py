"""`polyrec recommend`: rank items for one user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polyrec.cli.terminal.options import numbers
from polyrec.cli.terminal.output import Json, print_frame, print_json
from polyrec.core.errors import UserError


def recommend(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    user: Annotated[str | None, typer.Option("--user", help="Key of the user; omit it for a new user.")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of items.", min=1)] = 10,
    pairs: Annotated[list[str] | None, typer.Option("--set", help="COLUMN=VALUE of the user; may be repeated.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition on item columns.")] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help="Item column to print; may be repeated.")] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weight", help="NAME=NUMBER, a fusion weight for this list; may be repeated.")
    ] = None,
    seen: Annotated[bool, typer.Option("--seen", help="Include items that the user has already interacted with.")] = False,
    json: Json = False,
) -> None:
    """Rank items for one user, known or new.

    Example: polyrec recommend artifact --user 42 -k 10 --column title
    """
    from polyrec.recommender import Fitted

    fitted = Fitted.load(artifact)
    features: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"option --set {pair}", expected="COLUMN=VALUE", found="no '='", remedy="Write --set age=30.")
        features[name] = value
    shown = [c for c in fitted.items.columns if c in ("title", "name")] if columns is None else columns
    weighted = numbers(weights, "--weight")
    top = fitted.recommend(k, user=user, features=features, exclude_seen=not seen, where=where, columns=shown, weights=weighted)
    if json:
        print_json({"user": user, "items": top.to_dicts()})
    else:
        print_frame(top, f"Top {top.height} for {user if user is not None else 'a new user'}")
