"""`polyrec off-policy`: what a policy would have earned, from the log of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polyrec.cli.output import Json, console, print_json
from polyrec.core.errors import UserError


def off_policy(
    log: Annotated[str, typer.Option("--log", help="Served lists with propensities: file, folder or glob, one row an item.")],
    target_column: Annotated[
        str | None, typer.Option("--target-column", help="Column of the log: the target's probability of the item at its rank.")
    ] = None,
    candidates: Annotated[
        str | None, typer.Option("--candidates", help="Table of request, position, item and the target's `probability`.")
    ] = None,
    artifact: Annotated[
        Path | None, typer.Option("--artifact", help="Folder of a recommender that would put its best item at each rank.")
    ] = None,
    reward: Annotated[str, typer.Option("--reward", help="Column of what came of each item.")] = "click",
    interaction: Annotated[
        str, typer.Option("--interaction", help="What a reward depends on: cascade, independent or list.")
    ] = "cascade",
    ranks: Annotated[int | None, typer.Option("--ranks", help="Judge the first so many ranks alone.", min=1)] = None,
    clip: Annotated[float | None, typer.Option("--clip", help="Bound of the weights.")] = None,
    predicted: Annotated[
        str | None,
        typer.Option("--predicted", help="Reward model: a column of the candidates, of the log, or a task of the artifact."),
    ] = None,
    expected: Annotated[
        str | None, typer.Option("--expected", help="With --target-column: column of the model's mean under the target.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option("--feature", help="Column by which a reward model is fitted; may be repeated.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--column", help="ROLE=NAME of a column of the log, such as user=user_id.")
    ] = None,
    json: Json = False,
) -> None:
    """Estimate what a policy would have earned from a log of served lists that carries propensities.

    Example: polyrec off-policy --log served.parquet --target-column p_new --reward click
    """
    from polyrec.data.read.sources import read
    from polyrec.evaluate.off_policy.log import LogColumns
    from polyrec.evaluate.off_policy.off_policy import off_policy
    from polyrec.recommender import Fitted

    given = [option for option in (target_column, candidates, artifact) if option is not None]
    if len(given) != 1:
        remedy = "Give --target-column, --candidates or --artifact."
        raise UserError("the target", expected="one of three options", found=f"{len(given)}", remedy=remedy)
    target: Any = target_column
    if candidates is not None:
        target = read(candidates, what="the candidates")
    elif artifact is not None:
        target = Fitted.load(artifact)
    result = off_policy(
        log,
        target,
        reward=reward,
        interaction=interaction,  # type: ignore[arg-type]
        ranks=ranks,
        clip=clip,
        predicted=predicted,
        expected=expected,
        features=features or (),
        columns=LogColumns.of(names or ()),
    )
    if json:
        print_json(result.to_dict())
    else:
        console.print(result)
