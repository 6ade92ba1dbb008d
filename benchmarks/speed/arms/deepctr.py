"""DeepCTR-Torch: `MMOE.compile`, `fit` and `predict`, as its Quick-Start uses them (Adam, its L2 of the tables, its metric)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import MMOE
from torch.utils.data import DataLoader, TensorDataset

from speed.auc import mean_auc
from speed.clock import Clock
from speed.columns import columns, first_and_rest, from_pandas
from speed.workloads import LONGEST, ids, labels, numbers, shape_of, size_of


def _model(job: dict[str, Any]) -> MMOE:
    torch.set_num_threads(job["threads"])
    shape, size = shape_of(job), size_of(job)
    known = zip(ids(shape), shape.vocabularies, strict=True)
    features = [SparseFeat(name, vocabulary_size=count, embedding_dim=size.width) for name, count in known]
    features += [DenseFeat(name, 1) for name in numbers(shape)]
    if shape.bag:
        features.append(VarLenSparseFeat(SparseFeat("bag", shape.bag + 1, size.width), maxlen=LONGEST, combiner="mean"))
    model = MMOE(
        features,
        num_experts=size.experts,
        expert_dnn_hidden_units=size.hidden,
        gate_dnn_hidden_units=(),
        tower_dnn_hidden_units=size.tower,
        task_types=["binary"] * shape.tasks,
        task_names=labels(shape),
        seed=job["seed"],
    )
    model.compile("adam", loss=["binary_crossentropy"] * shape.tasks, metrics=["binary_crossentropy"])
    return model


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit for one epoch from arrays in memory, and evaluate on the test rows."""
    (x, y), (x_test, y_test) = (columns(job["data"], part, shape_of(job)) for part in ("train", "test"))
    model = _model(job)
    with Clock() as clock:
        model.fit(x, y, batch_size=job["batch"], epochs=1, verbose=2)
    return clock.told(samples=len(y), auc=mean_auc(y_test, model.predict(x_test, 8192)))


def rank(job: dict[str, Any]) -> dict[str, Any]:
    """Predict the candidates of one user with the model's `predict`."""
    x, _ = columns(job["data"], "test", shape_of(job), job["candidates"])
    model, times = _model(job), []
    for _ in range(job["repeats"]):
        with Clock() as clock:
            model.predict(x, batch_size=job["candidates"])
        times.append(clock.told())
    return {"times": times}


def load(job: dict[str, Any]) -> dict[str, Any]:
    """Parquet through pandas into the tensors and the loader that `fit` makes; they are not available separately."""
    torch.set_num_threads(job["threads"])

    def batches() -> Any:
        x, y = from_pandas(job["data"], shape_of(job))
        rows = np.concatenate([column[:, None] for column in x.values()], -1)
        loader = DataLoader(TensorDataset(torch.from_numpy(rows), torch.from_numpy(y)), batch_size=job["batch"], shuffle=True)
        return (len(rows_B.float()) for rows_B, _ in loader)

    return first_and_rest(Clock, batches)
