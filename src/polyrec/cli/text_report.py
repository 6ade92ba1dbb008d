"""`polyrec text-report`: do the texts pay, for which task, and for which items?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from polyrec.cli.output import Json, console, print_json
from polyrec.cli.sources import Data, Items, Query_, Users, source


def text_report(
    spec: Annotated[Path, typer.Argument(help="The declaration, in YAML, with a Text among its features.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the report and of all fits.")],
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    seeds: Annotated[int, typer.Option(help="Seeds of every arm.", min=1)] = 3,
    test_share: Annotated[float, typer.Option(help="Share of the rows to test on.", min=0.01, max=0.9)] = 0.2,
    cold_share: Annotated[float, typer.Option(help="Share of the items that no fit meets.", min=0.0, max=0.9)] = 0.1,
    new_share: Annotated[float, typer.Option(help="Share of the users that no fit meets.", min=0.0, max=0.9)] = 0.05,
    tail: Annotated[int, typer.Option(help="Rows to learn from that an item of the tail has at most.", min=0)] = 3,
    ranked_users: Annotated[int, typer.Option(help="Users for whom the catalogue is ranked, at most.", min=1)] = 2000,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the test users.", min=2)] = 200,
    json: Json = False,
) -> None:
    """Compare a declaration with itself without its texts, with its texts alone, with the wrong texts and with TF-IDF.

    Judged on all test rows, on warm, tail and cold items and on new users. What --out holds of an interrupted report is not
    done again.

    Example: polyrec text-report recommender.yaml --data ratings.parquet --items films.parquet --out report
    """
    from polyrec.compare.text_report import arms_by_slices, text_report
    from polyrec.recommender import Recommender

    document = text_report(
        Recommender.from_yaml(spec),
        source(data, query, users, items),
        out,
        seeds=seeds,
        test_share=test_share,
        cold_share=cold_share,
        new_share=new_share,
        tail=tail,
        users=ranked_users,
        resamples=resamples,
    )
    arms_by_slices(document).png(out / "text-report.png")
    if json:
        print_json(document)
        return
    tell(document)
    console.print(f"Wrote {out}: text-report.json, text-report.png, and all fits in runs/.", highlight=False)


def tell(document: Mapping[str, Any]) -> None:
    """Print a table a task, of arms by slices, and the verdict."""
    cells = {(arm, own["task"], own["slice"]): own for arm, found in document["arms"].items() for own in found}
    verdicts = {(told["task"], told["slice"], told["against"]): told for told in document["differences"]}
    for task in dict.fromkeys(task for _, task, _ in cells):
        slices = list(dict.fromkeys(name for _, own, name in cells if own == task))
        metric = next(own["metric"] for (_, name, _), own in cells.items() if name == task)
        table = _table(f"{task}: {metric}", "arm", slices)
        for arm in document["arms"]:
            own = [_mean(cells.get((arm, task, name))) for name in slices]
            table.add_row(arm, *own, style="bold" if arm == "as declared" else None)
        units = [max(own["rows"] for key, own in cells.items() if key[1:] == (task, name)) for name in slices]
        table.add_row("users", *(f"{count:,}" for count in units), style="dim")
        console.print(table)
        against = list(dict.fromkeys(told["against"] for told in document["differences"]))
        table = _table("", "declared minus", against)
        for name in slices:
            table.add_row(name, *(_difference(verdicts.get((task, name, other))) for other in against))
        console.print(table)
    console.print(document["verdict"])
    for feature, told in document["planted"].items():
        if told["suspects"]:
            count = (
                f"{told['suspects']} of {told['texts']:,} texts of {feature!r} look planted (orders, phrases stuffed into many)"
            )
            console.print(f"{count}; read them in text-report.json. The first: {told['shown'][0]['text']!r:.80}", markup=False)


def _table(title: str, first: str, others: Sequence[str]) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _mean(cell: Mapping[str, Any] | None) -> str:
    if cell is None or None in cell["values"]:
        return ""
    return f"{sum(cell['values']) / len(cell['values']):.4f}"


def _difference(told: Mapping[str, Any] | None) -> str:
    if told is None or told["estimate"]["mean"] is None:
        return ""
    mean, low, high = (told["estimate"][name] for name in ("mean", "low", "high"))
    bounds = "" if low is None else f" [{low:+.3f}, {high:+.3f}]"
    return f"{mean:+.3f}{bounds} {told['verdict']}"
