"""Polyrec through its public calls: `Recommender.fit` from the Parquet file, `Fitted.predict`, `Fitted.score`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import torch

from polyrec import Binary, Categorical, Hashed, MMoE, MultiCategorical, Numeric, Recommender, SharedBottom, Training
from polyrec.prepare.stages import Stages
from speed.auc import mean_auc
from speed.clock import Clock, cpu_seconds
from speed.columns import first_and_rest
from speed.workloads import ids, labels, numbers, shape_of, size_of

SMALL = 1_000
"""Rows of a table up to which the training rows contain all ids."""


def _recommender(job: dict[str, Any], sides: bool = False) -> Recommender:
    """Return the declaration; with `sides` the features alternate between user and item.

    The tables of a `hashed` job have a row for every id, not only for the ids of the training rows.
    """
    shape, size = shape_of(job), size_of(job)
    features: list[Any] = [Categorical(name=name, width=size.width) for name in ids(shape)]
    if job.get("hashed"):
        large = zip(ids(shape), shape.vocabularies, strict=True)
        features = [
            Hashed(name=name, width=size.width, rows=rows, hashes=1)
            if rows > SMALL
            else Categorical(name=name, width=size.width)
            for name, rows in large
        ]
    features += [Numeric(name=name, width=1) for name in numbers(shape)]
    if shape.bag:
        features.append(MultiCategorical(name="bag", width=size.width))
    parts: dict[str, Any] = (
        {"user": tuple(features[::2]), "item": tuple(features[1::2])} if sides else {"features": tuple(features)}
    )
    network = MMoE(experts=size.experts, hidden=size.hidden) if size.experts else SharedBottom(hidden=size.hidden)
    return Recommender(
        **parts,
        tasks=tuple(Binary(name=f"task{name}", label=name, tower=size.tower) for name in labels(shape)),
        network=network,
    )


def _file(job: dict[str, Any], part: str) -> Path:
    return Path(job["data"]) / f"{part}.parquet"


def _training(job: dict[str, Any], **more: Any) -> Training:
    more |= {"compile": job.get("compile", False)}
    rates = {"batch_size": job["batch"], "learning_rate": size_of(job).learning_rate, "seed": job["seed"]}
    return Training(**{"epochs": 1, "precision": job.get("precision", "float32"), **rates, **more})


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit for one epoch from the file, reading included, and evaluate on the test rows.

    With `steady` there are two epochs, and only the second is reported: no reading, no building.
    """
    torch.set_num_threads(job["threads"])
    shape, ends = shape_of(job), []

    def on_epoch(*_: Any) -> None:
        ends.append(cpu_seconds())

    more = {"epochs": 2, "patience": None} if job.get("steady") else {}
    files, training = (_file(job, "train"), _file(job, "validation")), _training(job, **more)
    with Clock() as clock:
        fitted = _recommender(job).fit(*files, training, progress=False, on_epoch=on_epoch)
    told = clock.told(samples=shape.rows)
    if job.get("steady"):
        told["cpu_seconds"] = ends[1] - ends[0]
    predictions = fitted.predict(_file(job, "test"))
    truth = pl.read_parquet(_file(job, "test"), columns=labels(shape))
    scores = predictions.select(f"task{name}" for name in labels(shape)).to_numpy()
    return {**told, "auc": mean_auc(truth.to_numpy(), scores)}


def rank(job: dict[str, Any]) -> dict[str, Any]:
    """Score the candidates of one user with `Fitted.score`."""
    torch.set_num_threads(job["threads"])
    fitted = _recommender(job, sides=True).fit(_file(job, "train"), _file(job, "validation"), _training(job), progress=False)
    users, items = (pl.read_parquet(_file(job, "train"), columns=[name])[name].unique() for name in ids(shape_of(job))[:2])
    user, candidates, times = users[0], items.head(job["candidates"]), []
    assert len(candidates) == job["candidates"]
    for _ in range(job["repeats"]):
        with Clock() as clock:
            fitted.score(user, candidates)
        times.append(clock.told())
    return {"times": times}


def polyrec_loader(job: dict[str, Any]) -> Iterator[int]:
    """Prepare a table, or use the prepared one, and gather shuffled batches; yield the number of rows of each."""
    files, training = (str(_file(job, "train")), str(_file(job, "validation"))), _training(job)
    rows = Stages(_recommender(job), *files, training, ahead=True).selection().rows
    return (part.batch(rows_B).size for part, rows_B in rows.epoch(job["batch"]))


def load(job: dict[str, Any]) -> dict[str, Any]:
    """From the file to shuffled batches."""
    torch.set_num_threads(job["threads"])
    return first_and_rest(Clock, lambda: polyrec_loader(job))
