"""torch-rechub: `DataGenerator` and `MTLTrainer` at their defaults, as examples/ranking/run_ali_ccp_multi_task.py uses them."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator, PredictDataset

from speed.auc import mean_auc
from speed.clock import Clock
from speed.columns import columns, first_and_rest, from_pandas
from speed.workloads import ids, numbers, shape_of, size_of


def _trainer(job: dict[str, Any], folder: str) -> MTLTrainer:
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    shape, size = shape_of(job), size_of(job)
    known = zip(ids(shape), shape.vocabularies, strict=True)
    features = [SparseFeature(name, count, embed_dim=size.width) for name, count in known]
    features += [DenseFeature(name) for name in numbers(shape)]
    if shape.bag:
        features.append(SequenceFeature("bag", shape.bag + 1, embed_dim=size.width, pooling="mean", padding_idx=0))
    types = ["classification"] * shape.tasks
    towers = [{"dims": list(size.tower)} for _ in types]
    model = MMOE(features, types, size.experts, expert_params={"dims": list(size.hidden)}, tower_params_list=towers)
    return MTLTrainer(model, types, n_epoch=1, device="cpu", model_path=folder)


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit for one epoch from arrays in memory, and evaluate on the test rows."""
    shape = shape_of(job)
    (x, y), (x_val, y_val), (x_test, y_test) = (columns(job["data"], part, shape) for part in ("train", "validation", "test"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(job, folder)
        with Clock() as clock:
            loaders = DataGenerator(x, y).generate_dataloader(x_val, y_val, x_test, y_test, batch_size=job["batch"])
            trainer.fit(loaders[0], loaders[1])
    scores = trainer.predict(trainer.model, DataLoader(PredictDataset(x_test), batch_size=8192))
    return clock.told(samples=len(y), auc=mean_auc(y_test, np.array(scores)))


def rank(job: dict[str, Any]) -> dict[str, Any]:
    """Predict the candidates of one user with the trainer's `predict`."""
    x, _ = columns(job["data"], "test", shape_of(job), job["candidates"])
    times = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(job, folder)
        for _ in range(job["repeats"]):
            with Clock() as clock:
                trainer.predict(trainer.model, DataLoader(PredictDataset(x), batch_size=job["candidates"]))
            times.append(clock.told())
    return {"times": times}


def load(job: dict[str, Any]) -> dict[str, Any]:
    """Read Parquet through pandas into `DataGenerator`."""
    torch.set_num_threads(job["threads"])

    def batches() -> Any:
        x, y = from_pandas(job["data"], shape_of(job))
        tiny = {name: column[:1] for name, column in x.items()}, y[:1]
        loader, _, _ = DataGenerator(x, y).generate_dataloader(*tiny, *tiny, batch_size=job["batch"])
        return (len(labels) for _, labels in loader)

    return first_and_rest(Clock, batches)
