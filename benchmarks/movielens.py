"""MovieLens-100k: one multi-task model on random and time splits, over seeds.

    python benchmarks/movielens.py --seeds 3 --jobs 2

For each seed the rows are split again (80 % for training, a tenth of them for validation, 20 % for testing). The demo's
declaration is fitted with `refit`, the epoch is chosen on validation alone, and the test rows are evaluated once. The time
split tests on the latest 20 % of the rows, the same for every seed. Prints a table and writes docs/results/movielens.json.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track

import polyrec
from polyrec import RandomSplit, TimeSplit
from polyrec.core.files import write_text
from polyrec.data.splits import Rows
from polyrec.demo.movielens import recommender

OUT = Path(__file__).parents[1] / "docs" / "results" / "movielens.json"
SHOWN = [("stars", "rmse"), ("like", "auc"), ("like", "gauc"), ("interest", "micro_auc")]


def run(split: str, seed: int) -> dict[str, float]:
    """Fit once and return the test metrics by `task.metric`."""
    table = polyrec.datasets.load("movielens-100k").table()
    way = RandomSplit(fraction=0.2) if split == "random" else TimeSplit(fraction=0.2)
    held = way.held_out(Rows(table.height, table["user_id"], table["timestamp"]), seed)
    spec = recommender(seed)
    inner = RandomSplit() if split == "random" else TimeSplit()
    started = time.process_time()
    training = spec.training.replace(refit=True, split=inner)
    fitted = spec.fit(table.filter(~held), training=training, progress=False)
    seconds = time.process_time() - started
    tasks = fitted.evaluate(table.filter(held), ranking=False).tasks
    figures = {f"{task}.{metric}": tasks[task][metric] for task, metric in SHOWN}
    return {**figures, "best_epoch": fitted.parts.facts.training.best_epoch, "cpu_seconds": round(seconds, 1)}


def main() -> None:
    """Run all seeds on both splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--jobs", type=int, default=1, help="parallel fits; each uses one thread if there are several")
    told = parser.parse_args()
    seeds = range(told.seeds)
    print(polyrec.datasets.get("movielens-100k").terms)
    fits = [(split, seed) for split in ("random", "time") for seed in seeds]
    threads = torch.get_num_threads() if told.jobs == 1 else 1
    with ProcessPoolExecutor(told.jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        done = list(track(pool.map(run, *zip(*fits, strict=True)), "fits", total=len(fits), console=Console(stderr=True)))
    results: dict[str, list[dict[str, float]]] = {"random": done[: len(seeds)], "time": done[len(seeds) :]}
    for split in results:
        for name in results[split][0]:
            values = np.array([figures[name] for figures in results[split]])
            spread = f"lowest {values.min():.4f}, highest {values.max():.4f}"
            print(f"{split:7} {name:20} mean {values.mean():.4f}  {spread}", flush=True)
    versions = {"polyrec": polyrec.__version__, "polars": pl.__version__}
    write_text(OUT, json.dumps({"seeds": len(seeds), "versions": versions, "results": results}, indent=1) + "\n")
    print(f"Wrote {OUT}")


if __name__ == "__main__":
    main()
