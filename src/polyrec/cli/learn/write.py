"""`polyrec write`: item tags and user profiles from a language model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import Json, console, errors, print_json
from polyrec.cli.terminal.sources import Data, Items, Query_, Users, source
from polyrec.core.errors import UserError
from polyrec.core.files import write_parquet

INCOMPLETE = 3
"""Exit code if a budget ended the run; the file has only the finished rows."""


def write(
    spec: Annotated[Path, typer.Argument(help="Writing job, in YAML: `kind: ItemTags` or `kind: UserProfiles`.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Parquet file for the table, which `fit` reads with --items or --users.")],
    recommender: Annotated[
        Path | None, typer.Option("--for", help="Declaration of the recommender: its labels and held-out rows are not sent.")
    ] = None,
    users: Users = None,
    items: Items = None,
    query: Query_ = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print rows, tokens and cost without sending requests.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Hide the progress bar.")] = False,
    json: Json = False,
) -> None:
    """Write item tags or user profiles with a language model. Repeat the command to resume an interrupted run.

    Example: polyrec write tags.yaml --data films.parquet --out tags.parquet --dry-run
    """
    from polyrec.recommender import Recommender
    from polyrec.writing.writing import Writing

    if out.suffix != ".parquet":
        raise UserError(
            f"file '{out}'", expected="a name in .parquet", found=f"{out.suffix!r}", remedy="Use the extension .parquet."
        )
    writing = Writing.from_yaml(spec)
    declared = None if recommender is None else Recommender.from_yaml(recommender)
    tables = source(data, query, users, items)
    if dry_run:
        estimate = writing.estimate(tables, declared)
        if json:
            print_json(asdict(estimate))
            return
        cost = "no prices given" if estimate.cost is None else f"at most {estimate.cost:.4f}"
        console.print(
            f"{estimate.rows:,} rows, {estimate.known:,} answered before, {estimate.requests:,} requests to send",
            highlight=False,
        )
        console.print(f"about {estimate.input_tokens:,} input tokens ({estimate.counted})", highlight=False)
        console.print(f"at most {estimate.output_tokens:,} output tokens; cost: {cost}", highlight=False)
        for message in estimate.first:
            console.print(f"\n[{message['role']}]\n{message['content']}", markup=False, highlight=False, soft_wrap=True)
        return
    written = writing.write(tables, declared, progress=not quiet)
    write_parquet(out, written.table)
    left = written.rows - written.table.height - written.failed
    if json:
        fields = {name: value for name, value in vars(written).items() if name not in ("table", "usage")}
        print_json({**fields, **{f"{name}_tokens": count for name, count in asdict(written.usage).items()}, "left": left})
    else:
        cost = "" if written.cost is None else f", {written.cost:.4f}"
        sent = f"{written.requests:,} requests, {written.usage.total:,} tokens{cost}"
        console.print(f"Wrote {written.table.height:,} of {written.rows:,} rows to {out}: {sent}", highlight=False)
    if written.failed:
        errors.print(f"{written.failed:,} answers did not match the schema ({written.problem})", markup=False, highlight=False)
    if written.stopped:
        errors.print(
            f"Stopped by {written.stopped}, {left:,} rows left: repeat the command to continue", markup=False, highlight=False
        )
        raise typer.Exit(INCOMPLETE)
