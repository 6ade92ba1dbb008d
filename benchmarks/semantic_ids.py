"""Amazon Beauty: the next item by its semantic id, generated or scored, compared with popularity and retrieval.

    python benchmarks/semantic_ids.py ../shared/data/beauty --users 2000

Reads `interactions.parquet` (user_id, item_id, position) and `items.parquet` (item_id, title) of a folder. For the first
`--users` users the last item is the test row and the one before it the validation row. The entire catalogue is ranked, except
for items that the user has interacted with. Prints recall and NDCG at 10 and the CPU time of a
request, and writes docs/results/semantic_ids.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

import polyrec
from polyrec import (
    Categorical,
    Fitted,
    Generative,
    History,
    Recommender,
    Retrieval,
    SASRec,
    SemanticIds,
    SharedBottom,
    Tables,
    Training,
)
from polyrec.core.files import write_text
from polyrec.evaluate.metrics.ranking import ranking_values
from polyrec.predict.generator import Generator

OUT = Path(__file__).parents[1] / "docs" / "results" / "semantic_ids.json"
K = 10
BEAMS = (10, 50, 200)


def declare(generative: bool, seed: int, epochs: int) -> Recommender:
    """Return a recommender of one task: the codes of the next item, or its vector."""
    task = (
        Generative(name="next", label="position IS NOT NULL", of="codes")
        if generative
        else Retrieval(name="next", label="position IS NOT NULL")
    )
    return Recommender(
        user=(
            Categorical(name="user_id", width=1, minimum_count=10**9),
            History(name="met", of="codes" if generative else "item_id", length=20, pooling=SASRec(), width=64),
        ),
        item=(
            Categorical(name="item_id", width=64),
            SemanticIds(name="codes", template="{title}", key="item_id", width=64),
        ),
        tasks=(task,),
        network=SharedBottom(hidden=(128,)),
        time="position",
        training=Training(epochs=epochs, batch_size=256, learning_rate=2e-3, utility={"next.skill": 1.0}, seed=seed),
    )


def judge(top: Callable[[int], list[int]], users: list[int], items: list[int]) -> dict[str, float]:
    """Return recall and NDCG over the users, and the CPU milliseconds of a request."""
    started = time.process_time()
    found = [top(user)[:K] for user in users]
    milliseconds = 1000 * (time.process_time() - started) / len(users)
    ranked_UK = np.array([own + [-1] * (K - len(own)) for own in found])
    values = ranking_values(ranked_UK, np.arange(len(users)), np.array(items), (K,))
    return {
        f"recall@{K}": float(values[f"recall@{K}"].mean()),
        f"ndcg@{K}": float(values[f"ndcg@{K}"].mean()),
        "ms": milliseconds,
    }


def ranker(fitted: Fitted) -> Callable[[int], list[int]]:
    """Return a function that ranks by scoring every item."""
    return lambda user: fitted.recommend(K, user_id=user)["item_id"].to_list()


def searcher(generator: Generator, beams: int) -> Callable[[int], list[int]]:
    """Return a function that ranks by searching the tree of codes."""
    return lambda user: generator(K, beams=beams, user_id=user)["item_id"].to_list()


def main() -> None:
    """Fit both, and evaluate them on the same users."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the two files")
    parser.add_argument("--users", type=int, default=2000, help="users to train on; 0 for all")
    parser.add_argument("--judged", type=int, default=1000, help="users to evaluate on")
    parser.add_argument("--epochs", type=int, default=15, help="epochs at most")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights")
    told = parser.parse_args()
    if not (told.folder / "interactions.parquet").is_file():
        raise SystemExit(f"no interactions.parquet in {told.folder}: this benchmark needs the Beauty folder")
    rows = pl.read_parquet(told.folder / "interactions.parquet").cast(pl.Int64).sort("user_id", "position")
    items = pl.read_parquet(told.folder / "items.parquet").sort("item_id")
    if told.users:
        rows = rows.filter(pl.col("user_id").is_in(rows["user_id"].unique(maintain_order=True)[: told.users].implode()))
    back = pl.col("position").max().over("user_id") - pl.col("position")
    test, held, learn = rows.filter(back == 0), rows.filter(back == 1), rows.filter(back > 1)
    asked = test.sample(min(told.judged, test.height), seed=0)
    users, answers = asked["user_id"].to_list(), asked["item_id"].to_list()
    known = pl.concat([learn, held])
    seen = {key: set(own) for key, own in known.group_by("user_id").agg("item_id").iter_rows()}
    popular = known["item_id"].value_counts(sort=True)["item_id"].to_list()
    results = {"popularity": judge(lambda user: [item for item in popular[:500] if item not in seen[user]], users, answers)}
    print(f"popularity {results['popularity']}", flush=True)
    for generative in (True, False):
        started = time.process_time()
        fitted = declare(generative, told.seed, told.epochs).fit(Tables(learn, items=items), held, progress=False)
        seconds = time.process_time() - started
        name = "generative" if generative else "retrieval"
        fitted.recommend(K, user_id=users[0])
        results[name] = {**judge(ranker(fitted), users, answers), "fit_seconds": seconds}
        print(f"{name} {results[name]} best epoch {fitted.parts.facts.training.best_epoch}", flush=True)
        if generative:
            codes = fitted.spec.item[1]
            assert isinstance(codes, SemanticIds)
            print(json.dumps(codes.describe(fitted.parts.feature_states["codes"])), flush=True)
            generator = Generator(fitted, "next")
            for beams in BEAMS:
                arm = f"generative, {beams} beams"
                results[arm] = judge(searcher(generator, beams), users, answers)
                print(f"{arm} {results[arm]}", flush=True)
    versions = {"polyrec": polyrec.__version__, "torch": torch.__version__}
    facts = {"users": told.users, "judged": len(users), "epochs": told.epochs, "seed": told.seed, "learned_from": learn.height}
    write_text(OUT, json.dumps({**facts, "versions": versions, "results": results}, indent=1) + "\n")
    print(f"Wrote {OUT}")


if __name__ == "__main__":
    main()
