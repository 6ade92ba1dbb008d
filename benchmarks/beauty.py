"""Amazon Beauty: sequential retrieval by ids, by texts and by both, with items that nobody has interacted with.

    python benchmarks/beauty.py FOLDER --seeds 3 --out docs/results/beauty.json

FOLDER contains interactions.parquet (user_id, item_id, position) and items.parquet (item_id, title). For each seed a tenth
of the items is cold: in no training row. The last row of each user is the test row. It is evaluated once, by the rank of its
item among all items that the user has not interacted with: recall@10 and ndcg@10 over users whose last item is warm, in the
tail (1 to 3 training rows), or cold. The epoch is chosen by ndcg@10 of each user's second-to-last row; the model is then
refitted with those rows. `new_items`, a constant added to the cosine of cold items, is not chosen here: all its values are
reported, and the one in the table was chosen beforehand on validation items of another split, at a cost of at most a
twentieth of warm recall. Finished arms are read from the file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from polyrec import (
    Categorical,
    Fitted,
    History,
    Joint,
    LastSplit,
    Package,
    PostProcessing,
    Recommender,
    Retrieval,
    SharedBottom,
    Tables,
    Text,
    TfIdf,
    Training,
)
from polyrec.core.files import write_text
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.random_vectors import RandomVectors
from polyrec.language.encoders.shuffled import Shuffled
from polyrec.poolings.recency import Recency

ENCODERS: dict[str, TextEncoder | None] = {
    "ids": None,
    "ids + MiniLM": Package(),
    "ids + TF-IDF": TfIdf(),
    "ids + shuffled MiniLM": Shuffled(encoder=Package()),
    "ids + random vectors": RandomVectors(),
}
NEW_ITEMS = 0.05
OFFERED = (0.0, 0.02, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12)
WIDTH = 64


def declaration(encoder: TextEncoder | None, seed: int, epochs: int) -> Recommender:
    """Return the declaration: a history of items by recency, compared directly with the items."""
    item: tuple[Any, ...] = (Categorical(name="item_id", width=WIDTH, id_dropout=0.0 if encoder is None else 0.3),)
    if encoder is not None:
        post = PostProcessing(method="whiten", normalise=True)
        item += (Text(name="title", encoder=encoder, post=post, width=WIDTH),)
        item += (Joint(name="item", id="item_id", content="title", width=WIDTH),)
    of = item[-1].name
    history = History(name="met", of=of, length=20, width=WIDTH, pooling=Recency(dropout=0.3))
    task = Retrieval(name="next", label="true", inputs=("met", of), direct=True, width=WIDTH, negatives=1024, temperature=0.07)
    training = Training(
        epochs=epochs,
        batch_size=512,
        learning_rate=2e-3,
        tables="rows",
        split=LastSplit(),
        utility={"next.ndcg@10": 1.0},
        patience=None,
        refit=True,
        seed=seed,
    )
    user = (Categorical(name="user_id", width=1), history)
    return Recommender(user=user, item=item, tasks=(task,), network=SharedBottom(hidden=()), training=training)


def read(folder: Path, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return training rows, test rows and items."""
    rows = pl.read_parquet(folder / "interactions.parquet").rename({"position": "timestamp"})
    items = pl.read_parquet(folder / "items.parquet").with_columns(pl.col("item_id").cast(rows.schema["item_id"]))
    keys = items["item_id"].sort().to_numpy()
    cold = pl.Series(np.random.default_rng(1000 + seed).permutation(keys)[: len(keys) // 10])
    is_last = pl.col("timestamp") == pl.col("timestamp").max().over("user_id")
    rows = rows.with_columns(last=is_last)
    train = rows.filter(~pl.col("last") & ~pl.col("item_id").is_in(cold.implode())).drop("last")
    return train, rows.filter("last").drop("last").join(train, on="user_id", how="semi"), items


def judge(fitted: Fitted, train: pl.DataFrame, test: pl.DataFrame, items: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return recall and ndcg by slice, `slice@new_items` by `metric`."""
    user_NK = fitted.raw_tensors(test.join(items, on="item_id"))["next"].chunk(2, 1)[0]
    known = fitted.items.with_columns(user_id=pl.lit(test["user_id"][0]), timestamp=pl.lit(0))
    item_IK = fitted.raw_tensors(known)["next"].chunk(2, 1)[1]
    place = {key: number for number, key in enumerate(fitted.items["item_id"])}
    counts = dict(train["item_id"].value_counts().iter_rows())
    rows_I = torch.tensor([counts.get(key, 0) for key in place])
    met = {user: [place[key] for key in own] for user, own in train.group_by("user_id").agg("item_id").iter_rows()}
    own_N = torch.tensor([place[key] for key in test["item_id"]])
    found = torch.zeros(len(OFFERED), len(own_N))
    for start in range(0, len(own_N), 1024):
        some = slice(start, start + 1024)
        cosine_BI = user_NK[some] @ item_IK.T
        for row, user in enumerate(test["user_id"][some]):
            cosine_BI[row, met[user]] = -9.0
        for number, lift in enumerate(OFFERED):
            lifted_BI = cosine_BI + lift * (rows_I == 0)
            found[number, some] = (lifted_BI > lifted_BI.gather(1, own_N[some, None])).sum(1).float()
    of_own = rows_I[own_N]
    slices = {"warm": of_own > 0, "tail": (of_own > 0) & (of_own <= 3), "cold": of_own == 0}
    figures: dict[str, dict[str, float]] = {}
    for number, lift in enumerate(OFFERED):
        hit_N, gain_N = found[number] < 10, 1 / (found[number] + 2).log2()
        for name, own in slices.items():
            recall, ndcg = hit_N[own].double().mean(), (hit_N * gain_N)[own].double().mean()
            figures[f"{name}@{lift}"] = {"recall@10": float(recall), "ndcg@10": float(ndcg), "users": int(own.sum())}
    return figures


def main() -> None:
    """Fit and evaluate all arms for all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15, help="epochs at most")
    parser.add_argument("--arms", default=",".join(ENCODERS))
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {"new_items": NEW_ITEMS, "fits": {}}
    if told.out.exists():
        document = json.loads(told.out.read_text(encoding="utf-8"))
    jobs = [(arm, seed) for seed in range(told.seeds) for arm in told.arms.split(",")]
    for arm, seed in track(jobs, "fits", console=Console(stderr=True)):
        key = f"{arm}, seed {seed}, {told.epochs} epochs"
        if key in document["fits"]:
            continue
        train, test, items = read(told.folder, seed)
        started = time.process_time()
        fitted = declaration(ENCODERS[arm], seed, told.epochs).fit(Tables(train, items=items), progress=False)
        spent = time.process_time() - started
        training = fitted.parts.facts.training
        own = {"arm": arm, "seed": seed, "cpu_seconds": round(spent, 1), "best_epoch": training["best_epoch"]}
        document["fits"][key] = {**own, "curves": training["curves"], "figures": judge(fitted, train, test, items)}
        write_text(told.out, json.dumps(document, indent=1) + "\n")
    show(document)


def show(document: dict[str, Any]) -> None:
    """Print recall@10 by arm, mean over seeds with the lowest and highest."""
    table = Table(title=f"recall@10, {len(document['fits'])} fits")
    columns = ("warm@0.0", "cold@0.0", f"warm@{NEW_ITEMS}", f"tail@{NEW_ITEMS}", f"cold@{NEW_ITEMS}", "warm@0.1", "cold@0.1")
    for name in ("arm", "seeds", *columns):
        table.add_column(name)
    for arm in dict.fromkeys(fit["arm"] for fit in document["fits"].values()):
        fits = [fit["figures"] for fit in document["fits"].values() if fit["arm"] == arm]
        cells = []
        for column in columns:
            values = [fit[column]["recall@10"] for fit in fits]
            cells.append(f"{np.mean(values):.4f} [{min(values):.4f}, {max(values):.4f}]")
        table.add_row(arm, str(len(fits)), *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
