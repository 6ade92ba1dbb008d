"""Run the workloads, print tables, write figures and a plot.

    python benchmarks/speed --short            # some minutes: a smoke test, no figures to quote
    python benchmarks/speed --full             # hours: docs/results/speed.json and speed.png
    python benchmarks/speed --full --only W2,W4 --arms polyrec,bare

The file is written after every round. A repeated workload replaces its figures; the others stay.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from speed import data
from speed.arms_table import ARMS, Arm
from speed.curves import measure, points
from speed.environments import InstallationError
from speed.plot import CURVES, plot
from speed.process import Worker, WorkerError
from speed.roofline import roofline
from speed.rounds import Rounds
from speed.sections import FULL, SHORT, WORKLOADS, Plan, Workload
from speed.table import tables
from speed.workloads import plain

ROOT = Path(__file__).parents[2]
LIMITS = Arm("limits", ("W2", "W3"))
TOLD = Console(stderr=True)


def machine() -> dict[str, Any]:
    """Return the facts of the machine; the load shows how idle it was."""
    cpus = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpus.read_text().splitlines() if "model name" in line] if cpus.exists() else []
    )
    load = round(os.getloadavg()[0], 2)
    return {"cpu": models[0] if models else platform.processor(), "cores": os.cpu_count(), "load_before": load}


def commit() -> str | None:
    """Return versions and commit of the run; a plus marks uncommitted changes."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12"]
    told = subprocess.run(git, capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def run_workload(workload: Workload, plan: Plan, arms: list[str], out: Path, document: dict[str, Any]) -> None:
    """Run the rounds of a workload, and write the figures after each."""
    names = [name for name in arms if workload.name in ARMS[name].workloads]
    if not names:
        return
    version = re.search('__version__ = "(.+)"', (ROOT / "src" / "polyrec" / "core" / "version.py").read_text())
    facts: dict[str, Any] = {
        "title": workload.title,
        "unit": "auc" if plan.quality else workload.unit,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "plan": vars(plan),
        "seeds": [plan.seed + number for number in range(plan.rounds)],
        "data": data.facts(data.make(workload.shaped(plan))),
        "model": plain(workload.size),
        "polyrec": {"version": version.group(1) if version else None, "commit": commit()},
        "machine": machine(),
    }
    if workload.name in LIMITS.workloads and not plan.quality:
        limits = Worker("limits", LIMITS, plan.threads)
        measured = limits.ask("measure", next(iter(workload.jobs(plan).values())))
        facts["roofline"] = roofline(workload.shaped(plan), workload.size, measured)
        limits.close()
    rounds = Rounds(workload, plan, names, TOLD.log)
    try:
        for number in range(plan.rounds):
            rounds.run(number)
            document["workloads"][key(workload, plan)] = {**facts, "rounds": number + 1, **rounds.told()}
            write(out, document)
    finally:
        rounds.close()


def key(workload: Workload, plan: Plan) -> str:
    """Return the name of the figures: tables of all existing ids, of the ids of the training rows, or quality."""
    if plan.quality:
        return f"{workload.name} quality"
    has_tables = workload.name in ("W2", "W3")
    return f"{workload.name} equal tables" if has_tables and not plan.whole_tables else workload.name


def run_curves(plan: Plan, full: bool, arms: list[str], chosen_curves: list[str], out: Path, document: dict[str, Any]) -> None:
    """Run the points of the curves, and write the figures after each."""
    names = [name for name in arms if "curves" in ARMS[name].workloads]
    found: list[dict[str, Any]] = []
    for point in (point for point in points(plan, full) if point.curve in chosen_curves) if names else ():
        found.append(measure(point, plan, names, TOLD.log))
        document["curves"] = {"plan": vars(plan), "machine": machine(), "points": found}
        write(out, document)


def write(out: Path, document: dict[str, Any]) -> None:
    """Write the figures atomically."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(out)


def chosen(given: str | None, known: list[str], what: str) -> list[str]:
    """Return the given names in the known order, or all names if none is given."""
    names = known if given is None else given.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"no {what} is named {name!r}; there are {', '.join(known)}")
    return [name for name in known if name in names]


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--short", action="store_true", help="some minutes (the default); writes to artifact/speed")
    mode.add_argument("--full", action="store_true", help="hours; writes to docs/results")
    parser.add_argument("--only", help="workloads, of W1,W2,W3,W4,W5,curves")
    parser.add_argument("--curves", help=f"curves, of {','.join(CURVES)}")
    parser.add_argument("--arms", help=f"arms, of {','.join(ARMS)}")
    parser.add_argument("--beside", type=Path, help="another checkout of Polyrec, which runs as the arm polyrec-beside")
    parser.add_argument("--rows", type=int, help="training rows of W2 and W5; the others have a quarter")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--batches", help="batch sizes of W2 and W3, such as 4096,1024")
    parser.add_argument("--whole-tables", action="store_true", help="peers and bare: a row for every existing id")
    parser.add_argument("--quality", action="store_true", help="report only AUC, for a run on a busy machine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the first round")
    parser.add_argument("--out", type=Path, help="JSON file; the plot is written next to it")
    parser.add_argument("--draw", action="store_true", help="run nothing: plot and print the figures of the file")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    told = parser.parse_args()
    plan = replace(FULL if told.full else SHORT, threads=told.threads, seed=told.seed, quality=told.quality)
    plan = replace(plan, whole_tables=told.whole_tables)
    given = {name: getattr(told, name) for name in ("rows", "rounds")}
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    if told.batches:
        plan = replace(plan, batches=tuple(int(batch) for batch in told.batches.split(",")))
    if told.beside:
        ARMS["polyrec-beside"] = replace(ARMS["polyrec"], checkout=told.beside.resolve())
    only = chosen(told.only, [*WORKLOADS, "curves"], "workload")
    arms = chosen(told.arms, list(ARMS), "arm")
    out = told.out or ROOT / ("docs/results" if told.full else "artifact/speed") / "speed.json"
    document: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"workloads": {}}
    for name in [] if told.draw else only:
        try:
            if name == "curves":
                run_curves(plan, told.full, arms, chosen(told.curves, list(CURVES), "curve"), out, document)
            else:
                run_workload(WORKLOADS[name], plan, arms, out, document)
        except (WorkerError, InstallationError) as error:
            TOLD.log(f"{name}: {error}")
    plot(document, out.with_suffix(".png"))
    if told.json:
        json.dump(document, sys.stdout, indent=1)
    else:
        tables(document, Console(width=None if sys.stdout.isatty() else 132))
        print(f"Wrote {out} and {out.with_suffix('.png')}")
