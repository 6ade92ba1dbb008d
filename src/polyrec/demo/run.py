"""`polyrec demo`: fetch, fit, compare, rank, and write an artifact and a page."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as RichTable

from polyrec import datasets
from polyrec.compare.text.findings import higher_is_better
from polyrec.core.files import write_parquet
from polyrec.demo.compare import BASELINE, MULTI, SINGLE, Comparison, compare, judged_by_rows, popularity_ndcg
from polyrec.demo.movielens import recommender
from polyrec.demo.outcome import Outcome
from polyrec.demo.page import RANKING_NOTE, write_report
from polyrec.demo.text import NOTE, TextGain, text_gains
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.recommender import Fitted

USER = 42
"""User whose list the demo shows."""

RANK = 10
"""Length of the lists."""


def run(out: Path, seed: int, console: Console) -> Outcome:
    """Run the demo with progress messages on the console; write the artifact, report.html and both tables to `out`."""
    dataset = datasets.get("movielens-100k")
    console.print(f"[bold]{dataset.title}[/bold]\n[dim]{dataset.terms}[/dim]\n")
    table = dataset.load().table().sample(fraction=1.0, shuffle=True, seed=seed)
    test, train = table[: table.height // 5], table[table.height // 5 :]
    write_parquet(out / "ratings.parquet", train)
    write_parquet(out / "test.parquet", test)
    spec = recommender(seed)
    spec.to_yaml(out / "recommender.yaml")
    console.print(f"{train.height:,} ratings to learn from, {test.height:,} to test on, at random. One model for four tasks:")
    multi = spec.fit(train)
    singles = {}
    for task in judged_by_rows(spec.tasks):
        console.print(f"The same network and budget for the task [bold]{task.name}[/bold] alone:")
        singles[task.name] = spec.alone(task.name).fit(train)
    multi.save(out / "artifact")
    with console.status("Judging on the test rows and ranking all films for every user …"):
        comparisons = compare(multi, singles, train, test)
        ranking = dict(multi.evaluate(test, ks=(RANK,)).fusion)
        ranking["popularity ndcg@10"] = popularity_ndcg(multi, train, test, RANK)
    console.print("The value of a film's text: the recommender with and without it, a tenth of the films held out from both:")
    gains = text_gains(spec, table, out / "text", seed)
    liked = train.filter((pl.col("user_id") == USER) & (pl.col("rating") >= 5)).sort("timestamp", descending=True)
    recommended = multi.recommend(user_id=USER, k=RANK, columns=["title", "genres"])
    shown = liked.select("title", "genres", "rating").head(RANK)
    outcome = Outcome(multi, comparisons, ranking, gains, shown, recommended)
    _print(console, outcome)
    write_report(out / "report.html", outcome, mean_gates(multi, test), dataset.terms)
    console.print(
        f"\nWrote [bold]{out}/[/bold]: report.html (open it), artifact/, recommender.yaml, ratings.parquet, test.parquet."
    )
    console.print(f"Next: polyrec recommend {out}/artifact --user 7 -k 5", highlight=False)
    return outcome


def mean_gates(multi: Fitted, rows: pl.DataFrame) -> np.ndarray:
    """Return the mean weight of each expert by task, (T, E)."""
    gates = multi.gates(rows)
    return np.stack([gates[task.name].mean(0) for task in multi.spec.tasks])


def _print(console: Console, outcome: Outcome) -> None:
    table = RichTable(
        title="Does learning together help? (test rows)", title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False
    )
    table.add_column("metric", no_wrap=True)
    for name in (BASELINE, SINGLE, MULTI, "multi − single, 95 % interval", "verdict"):
        table.add_column(name, justify="right")
    for row in outcome.comparisons:
        table.add_row(*comparison_cells(row))
    console.print(table)
    console.print(
        "No model: the mean label of the film or of all rows. Intervals: 200 bootstrap resamples of users, one seed; they do "
        "not include the variance between training seeds (see benchmarks).",
        style="dim",
    )
    console.print(_text_table(outcome.text))
    console.print(NOTE, style="dim")
    ranking = outcome.ranking
    console.print(
        f"\nFused ranking of all {outcome.multi.items.height:,} films: NDCG@10 [bold]{ranking['ndcg@10']:.4f}[/bold], by "
        f"popularity {ranking['popularity ndcg@10']:.4f}; hit rate {ranking['hit_rate@10']:.3f}, coverage "
        f"{ranking['coverage@10']:.3f}."
    )
    console.print(RANKING_NOTE, style="dim")
    side = RichTable(title=f"User {USER}", title_justify="left")
    side.add_column("gave five stars to")
    side.add_column("is recommended")
    side.add_column("like", justify="right")
    side.add_column("stars", justify="right")
    blank: dict[str, Any] = {}
    for left, right in zip_longest(outcome.liked.to_dicts(), outcome.recommended.to_dicts(), fillvalue=blank):
        side.add_row(
            left.get("title", ""), right.get("title", ""), *(f"{right[t]:.2f}" if t in right else "" for t in ("like", "stars"))
        )
    console.print(side)


def _text_table(gains: list[TextGain]) -> RichTable:
    table = RichTable(title="What does the text give?", title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
    for name in ("metric", "films"):
        table.add_column(name, no_wrap=True)
    for name in ("without", "with text", "95 % interval", "verdict"):
        table.add_column(name, justify="right")
    for row in gains:
        table.add_row(*text_cells(row))
    return table


def text_cells(row: TextGain) -> list[str]:
    """Return a gain as the cells of a table row."""
    arrow = "↑" if higher_is_better(row.metric) else "↓"
    values = [f"{row.without:.4f}", f"{row.whole:.4f}", f"[{row.low:+.4f}, {row.high:+.4f}]"]
    return [f"{row.task} {row.metric} {arrow}", row.films, *values, row.verdict]


def comparison_cells(row: Comparison) -> list[str]:
    """Return a comparison as the cells of a table row."""
    difference, low, high = row.difference
    arrow = "↑" if METRICS[row.metric].higher_is_better else "↓"
    values = [f"{row.values[name]:.4f}" for name in (BASELINE, SINGLE, MULTI)]
    return [f"{row.task} {row.metric} {arrow}", *values, f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]", row.verdict]
