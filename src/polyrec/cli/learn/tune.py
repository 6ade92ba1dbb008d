"""`polyrec tune`: search for the settings with the best validation metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, print_json
from polyrec.cli.terminal.sources import Data, Items, Query_, Users, Validation, source


def tune(
    spec: Annotated[Path, typer.Argument(help="Declaration of the recommender, in YAML.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for best.yaml, trials.json, tuning.html and the study.")],
    trials: Annotated[
        int, typer.Option("--trials", help="Total number of trials, including those of earlier runs.", min=1)
    ] = 30,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="PATH=LOW..HIGH[:log] or PATH=A,B, added to `search`; may be repeated."),
    ] = None,
    objectives: Annotated[
        list[str] | None,
        typer.Option("--objective", help="utility or TASK.METRIC; may be repeated: two or three give a Pareto front."),
    ] = None,
    validation: Validation = None,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    storage: Annotated[Path | None, typer.Option("--storage", help="File of the study. Default: study.db in --out.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposals.", min=0)] = 0,
    jobs: Annotated[int, typer.Option(help="Number of processes that run trials.", min=1)] = 1,
    prune: Annotated[bool, typer.Option(help="Stop trials that fall behind the median.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Hide the progress bar.")] = False,
    json: Json = False,
) -> None:
    """Search for the best settings, with one fit per trial. Repeat the command to resume an interrupted search.

    Example: polyrec tune recommender.yaml --data ratings.parquet --out tuned --range training.learning_rate=1e-4..1e-2:log
    """
    from polyrec.core.progress import progress_bar
    from polyrec.recommender import Recommender
    from polyrec.tune.objective import read_objectives
    from polyrec.tune.options import read_ranges
    from polyrec.tune.search import Search, search
    from polyrec.tune.write import write

    recommender = Recommender.from_yaml(spec)
    job = Search(
        spec=recommender,
        ranges={**recommender.search, **read_ranges(recommender, ranges or ())},
        objectives=read_objectives(recommender, objectives or ()),
        data=source(data, query, users, items),
        validation=validation,
        trials=trials,
        storage=storage or out / "study.db",
        seed=seed,
        prune=prune,
        jobs=jobs,
    )
    with progress_bar("searching", trials, unit="trials", disable=quiet) as bar:
        tuned = search(job, bar.move)
    write(out, recommender, tuned)
    if json:
        print_json(tuned.to_dict())
        return
    console.print(tuned)
    console.print(f"Wrote {out}: fit best.yaml; see tuning.html, or trials.json for all trials.", highlight=False)
