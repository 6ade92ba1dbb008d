"""`polyrec off-policy`: estimate a policy's reward from the log of another policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.core.errors import UserError


def off_policy(
    log: Annotated[str, typer.Option("--log", help="Served lists with propensities, one row per item: file, folder or glob.")],
    target_column: Annotated[
        str | None, typer.Option("--target-column", help="Log column with the target's probability of the item at its rank.")
    ] = None,
    candidates: Annotated[
        str | None, typer.Option("--candidates", help="Table of request, position, item and target `probability`.")
    ] = None,
    artifact: Annotated[Path | None, typer.Option("--artifact", help="Folder of a recommender that ranks greedily.")] = None,
    reward: Annotated[str, typer.Option("--reward", help="Column with the reward of each item.")] = "click",
    interaction: Annotated[
        str, typer.Option("--interaction", help="Items that a reward depends on: cascade, independent or list.")
    ] = "cascade",
    ranks: Annotated[
        int | None, typer.Option("--ranks", help="Evaluate only the first ranks, up to this number.", min=1)
    ] = None,
    clip: Annotated[float | None, typer.Option("--clip", help="Upper bound of the importance weights.")] = None,
    predicted: Annotated[
        str | None,
        typer.Option("--predicted", help="Reward model: a column of the candidates or the log, or a task of the artifact."),
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option("--expected", help="With --target-column: column with the reward model's mean under the target."),
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option("--feature", help="Input column of a fitted reward model; may be repeated.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--column", help="ROLE=NAME of a log column, such as user=user_id; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Estimate a target policy's reward from logged lists. The log needs propensities.

    Example: polyrec off-policy --log served.parquet --target-column p_new --reward click
    """
    from polyrec.data.read.sources import read
    from polyrec.evaluate.off_policy.estimate import off_policy
    from polyrec.evaluate.off_policy.log import LogColumns
    from polyrec.recommender import Fitted

    targets = [option for option in (target_column, candidates, artifact) if option is not None]
    if len(targets) != 1:
        remedy = "Use --target-column, --candidates or --artifact."
        raise UserError("the target", expected="one of three options", found=f"{len(targets)}", remedy=remedy)
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
