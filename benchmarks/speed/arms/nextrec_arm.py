"""nextrec: `MMOE.compile`, `fit` and `predict` on a frame, with the settings of its README (Adam, weight decay 1e-5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nextrec.basic.features import DenseFeature, SequenceFeature, SparseFeature
from nextrec.data.dataloader import RecDataLoader
from nextrec.models.multitask.mmoe import MMOE

from speed.auc import mean_auc
from speed.clock import Clock
from speed.columns import columns, first_and_rest
from speed.workloads import LONGEST, ids, labels, numbers, shape_of, size_of


def _features(job: dict[str, Any]) -> dict[str, Any]:
    shape, width = shape_of(job), size_of(job).width
    known = zip(ids(shape), shape.vocabularies, strict=True)
    bags = [SequenceFeature("bag", shape.bag + 1, LONGEST, embedding_dim=width, padding_idx=0)] if shape.bag else []
    return {
        "dense_features": [DenseFeature(name=name, input_dim=1) for name in numbers(shape)],
        "sparse_features": [SparseFeature(name=name, vocab_size=count, embedding_dim=width) for name, count in known],
        "sequence_features": bags,
    }


def _model(job: dict[str, Any]) -> MMOE:
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    shape, size = shape_of(job), size_of(job)
    model = MMOE(
        **_features(job),
        expert_mlp_params={"hidden_dims": list(size.hidden), "activation": "relu"},
        num_experts=size.experts,
        tower_mlp_params_list=[{"hidden_dims": list(size.tower), "activation": "relu"} for _ in range(shape.tasks)],
        target=labels(shape),
        device="cpu",
        session_id="speed",
    )
    rates = {"lr": size.learning_rate, "weight_decay": 1e-5}
    model.compile(optimizer="adam", optimizer_params=rates, loss=["bce"] * shape.tasks)
    return model


def _frame(job: dict[str, Any], part: str, rows: int | None = None) -> tuple[pd.DataFrame, np.ndarray]:
    shape = shape_of(job)
    x, y = columns(job["data"], part, shape, rows)
    listed = {name: column if column.ndim == 1 else list(column) for name, column in x.items()}
    return pd.DataFrame({**listed, **{name: y[:, at] for at, name in enumerate(labels(shape))}}), y


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit for one epoch from a frame in memory, and evaluate on the test rows."""
    (frame, _), (frame_test, y_test) = (_frame(job, part) for part in ("train", "test"))
    model = _model(job)
    with Clock() as clock:
        model.fit(train_data=frame, epochs=1, batch_size=job["batch"], shuffle=True, metrics=["auc"], use_tensorboard=False)
    scores = model.predict(frame_test, batch_size=8192, return_dataframe=False)
    return clock.told(samples=len(frame), auc=mean_auc(y_test, np.asarray(scores)))


def rank(job: dict[str, Any]) -> dict[str, Any]:
    """Predict the candidates of one user with the model's `predict`."""
    frame, _ = _frame(job, "test", job["candidates"])
    model, times = _model(job), []
    for _ in range(job["repeats"]):
        with Clock() as clock:
            model.predict(frame, batch_size=job["candidates"], return_dataframe=False)
        times.append(clock.told())
    return {"times": times}


def load(job: dict[str, Any]) -> dict[str, Any]:
    """Read Parquet into its loader, in memory or as a stream (which yields chunks in the order of the file)."""
    torch.set_num_threads(job["threads"])

    def batches() -> Any:
        loader = RecDataLoader(**_features(job), target=labels(shape_of(job)))
        path, stream = str(Path(job["data"]) / "train.parquet"), job.get("stream", False)
        options = {"chunk_size": job["batch"]} if stream else {}
        made = loader.create_dataloader(path, batch_size=job["batch"], shuffle=True, streaming=stream, **options)
        return (len(batch["labels"]["y0"]) for batch in made)

    return first_and_rest(Clock, batches)
