"""`polyrec fuse`: a search for the weights by which an artifact's predictions become one ranking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyrec.cli.options import numbers
from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Data, Query_, source
from polyrec.core.errors import UserError

if TYPE_CHECKING:
    from polyrec.fusion_search import FusionSearch


def fuse(
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact.")],
    data: Data,
    utility: Annotated[
        list[str], typer.Option("--utility", help="TASK.METRIC=WEIGHT of gauc, ndcg@K or mean@K; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the artifact with the best weights.")],
    trials: Annotated[int, typer.Option("--trials", help="Trials, the weights as they are among them.", min=1)] = 100,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe, or random as its control.")] = "tpe",
    query: Query_ = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposals and of the halves of users.", min=0)] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="PNG of the Pareto front; metrics of weight 0 are drawn, too.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    json: Json = False,
) -> None:
    """Tune the fusion's weights on held-out rows; half of their users are searched on, the others say what was gained.

    Example: polyrec fuse artifact --data held_out.parquet --utility like.ndcg@10=1 --utility stars.ndcg@10=0.5 --out fused
    """
    from polyrec.core.progress import progress_bar
    from polyrec.fitted import Fitted

    weighed = numbers(utility, "--utility") or {}
    if plot is not None and len(weighed) < 2:
        remedy = "Give another --utility; a weight of 0 only watches it."
        raise UserError("--plot", expected="two metrics or more", found=f"{len(weighed)}", remedy=remedy)
    fitted = Fitted.load(artifact)
    with progress_bar("fusing", trials, unit="trials", disable=quiet) as bar:
        found = fitted.tune_fusion(
            source(data, query),
            weighed,
            trials=trials,
            sampler=sampler,  # type: ignore[arg-type]
            seed=seed,
            on_trial=bar.move,
        )
    found.apply(fitted).save(out)
    if plot is not None:
        _draw(found, plot)
    if json:
        print_json(found.to_dict(trials=True))
        return
    console.print(found)
    console.print(f"Wrote {out} with the best weights.", highlight=False)


def _draw(found: FusionSearch, path: Path) -> None:
    """Draw the metrics of the trials against each other, the first three."""
    from polyrec.report.tuning_plots import front_panels

    names, front = list(found.utility)[:3], {trial.number for trial in found.front}
    front_panels(
        names,
        [found.utility[name] >= 0 for name in names],
        [[trial.metrics[name] for name in names] for trial in found.trials],
        [trial.number in front for trial in found.trials],
        None,
        found.best.number,
        found.given.number,
        path,
        chosen="best by the utility",
    )
