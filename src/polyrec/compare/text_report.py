"""`polyrec text-report`: what the texts of a declaration give, against none, the wrong ones and TF-IDF."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyrec.compare.job import versions
from polyrec.compare.text_arms import text_arms
from polyrec.compare.text_findings import find, verdict_of
from polyrec.compare.text_fits import TextFit, fit_once
from polyrec.compare.text_planted import planted
from polyrec.compare.text_rows import split_rows
from polyrec.core.errors import UserError
from polyrec.core.files import write_text
from polyrec.core.progress import progress_bar
from polyrec.data.sources import Source
from polyrec.data.tables import Tables
from polyrec.evaluate.report import as_json
from polyrec.recommender import Recommender

DOCUMENT, RUNS = "text-report.json", "runs"
"""Names inside the folder of a report."""


def text_report(
    spec: Recommender,
    data: Source | Tables,
    out: Path,
    *,
    seeds: int = 3,
    test_share: float = 0.2,
    cold_share: float = 0.1,
    new_share: float = 0.05,
    tail: int = 3,
    users: int = 2000,
    resamples: int = 200,
    only: Collection[str] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Fit a declaration with and without its texts, with the wrong ones and with TF-IDF; judge all on the same test rows.

    Every arm is trained as the declaration says, from the same seeds; test rows, cold items and new users are held out once.
    Rankings are those of at most so many `users`. `only` names the arms, else all are fitted. `out` keeps every fit: a second
    call with the same folder does only what is missing. Texts of items that look planted are told beside the figures. Returns
    what it writes to text-report.json.
    """
    if seeds < 1:
        raise UserError("a text report", expected="one seed or more", found=f"{seeds}", remedy="Raise `seeds`.")
    arms = {name: arm for name, arm in text_arms(spec.replace(search={})).items() if only is None or name in only}
    shares = {"test_share": test_share, "cold_share": cold_share, "new_share": new_share}
    rows = split_rows(spec, data, test_share=test_share, cold_share=cold_share, new_share=new_share, tail=tail)
    fits: dict[str, list[TextFit]] = {name: [] for name in arms}
    with progress_bar("fits", len(arms) * seeds, disable=not progress) as bar:
        for name, arm in arms.items():
            for seed in range(seeds):
                seeded = arm.replace(training=arm.training.replace(seed=seed))
                fits[name].append(fit_once(seeded, rows, out / RUNS, users)[0])
                bar.advance()
    cells, differences = find(spec, fits, resamples)
    document: dict[str, Any] = {
        "verdict": verdict_of(differences),
        "plan": {"seeds": seeds, **shares, "tail": tail, "users": users, "resamples": resamples},
        "rows": dict(rows.facts),
        "catalogue": _items(rows.learn),
        "planted": planted(spec, rows.learn),
        "arms": {arm: [asdict(cell) for cell in own] for arm, own in cells.items()},
        "differences": [asdict(told) for told in differences],
        "spec": spec.model_dump(mode="json"),
        "versions": versions(),
    }
    document = as_json(document)
    write_text(out / DOCUMENT, json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    return document


def _items(tables: Tables) -> int | None:
    items = tables.items
    return None if items is None else len(items)  # type: ignore[arg-type]  # a frame by now
