"""`polyrec fuse`: search for the weights that fuse an artifact's predictions into one ranking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyrec.cli.terminal.options import numbers
from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Data, Query_, source
from polyrec.core.errors import UserError

if TYPE_CHECKING:
    from polyrec.fit.fusion_search import FusionSearch


def fuse(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    data: Data,
    utility: Annotated[
        list[str], typer.Option("--utility", help="TASK.METRIC=WEIGHT with gauc, ndcg@K or mean@K; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the artifact with the best weights.")],
    trials: Annotated[int, typer.Option("--trials", help="Number of trials; the first has the current weights.", min=1)] = 100,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe, or random as a baseline.")] = "tpe",
    query: Query_ = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposals and of the split of users.", min=0)] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="PNG file for the Pareto front, including metrics of weight 0.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Hide the progress bar.")] = False,
    json: Json = False,
) -> None:
    """Tune the fusion weights on held-out rows. One half of the users tunes them, the other half measures the gain.

    Example: polyrec fuse artifact --data held_out.parquet --utility like.ndcg@10=1 --utility stars.ndcg@10=0.5 --out fused
    """
    from polyrec.core.progress import progress_bar
    from polyrec.recommender import Fitted

    weights = numbers(utility, "--utility") or {}
    if plot is not None and len(weights) < 2:
        remedy = "Add another --utility; with weight 0 it is only reported."
        raise UserError("--plot", expected="two metrics or more", found=f"{len(weights)}", remedy=remedy)
    fitted = Fitted.load(artifact)
    with progress_bar("fusing", trials, unit="trials", disable=quiet) as bar:
        result = fitted.tune_fusion(
            source(data, query),
            weights,
            trials=trials,
            sampler=sampler,  # type: ignore[arg-type]
            seed=seed,
            on_trial=bar.move,
        )
    result.apply(fitted).save(out)
    if plot is not None:
        _draw(result, plot)
    if json:
        print_json(result.to_dict(trials=True))
        return
    console.print(result)
    console.print(f"Wrote {out} with the best weights.", highlight=False)


def _draw(result: FusionSearch, path: Path) -> None:
    """Plot the first three metrics of the trials against each other."""
    from polyrec.report.tuning_plots import front_panels

    names, front = list(result.utility)[:3], {trial.number for trial in result.front}
    front_panels(
        names,
        [result.utility[name] >= 0 for name in names],
        [[trial.metrics[name] for name in names] for trial in result.trials],
        [trial.number in front for trial in result.trials],
        None,
        result.best.number,
        result.given.number,
        path,
        chosen="best by the utility",
    )
