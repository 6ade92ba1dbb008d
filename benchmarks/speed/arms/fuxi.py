"""FuxiCTR: `RankDataLoader`, `fit` and `predict`, with the settings of its model zoo's MMoE (Adam, 1e-6 on the tables)."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader

from speed.arms.fuxi_mmoe import MMoE
from speed.auc import mean_auc
from speed.clock import Clock
from speed.columns import columns, first_and_rest
from speed.workloads import LONGEST, Shape, ids, labels, numbers, shape_of, size_of


def _feature_map(shape: Shape, folder: str) -> FeatureMap:
    feature_map = FeatureMap("speed", folder)
    known = zip(ids(shape), shape.vocabularies, strict=True)
    features = OrderedDict((name, {"type": "categorical", "vocab_size": count, "source": ""}) for name, count in known)
    features.update((name, {"type": "numeric", "source": ""}) for name in numbers(shape))
    if shape.bag:
        bag = {"type": "sequence", "vocab_size": shape.bag + 1, "max_len": LONGEST, "padding_idx": 0, "source": ""}
        features["bag"] = {**bag, "feature_encoder": "layers.MaskedAveragePooling()"}
    feature_map.features, feature_map.labels = features, labels(shape)
    feature_map.num_fields = len(features)
    feature_map.set_column_index()
    return feature_map


def _npz(job: dict[str, Any], part: str) -> str:
    """Return the part in the format of FuxiCTR's preprocessing: an npz file, written if missing."""
    path = Path(job["data"]) / f"{part}.fuxictr.npz"
    if not path.exists():
        x, y = columns(job["data"], part, shape_of(job))
        np.savez(path, **x, **{name: y[:, at] for at, name in enumerate(labels(shape_of(job)))})
    return str(path)


def _model(job: dict[str, Any], folder: str) -> MMoE:
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    shape = shape_of(job)
    settings = {"embedding_regularizer": 1e-6, "metrics": ["AUC"], "model_root": folder, "verbose": 0}
    model = MMoE(_feature_map(shape, folder), size_of(job), shape.tasks, **settings)
    os.makedirs(model.model_dir, exist_ok=True)
    return model


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit for one epoch from npz files, and evaluate on the test rows."""
    files = {f"{part}_data": _npz(job, name) for part, name in (("train", "train"), ("valid", "validation"), ("test", "test"))}
    shape = shape_of(job)
    with tempfile.TemporaryDirectory() as folder:
        model = _model(job, folder)
        with Clock() as clock:
            loaders = RankDataLoader(
                model.feature_map, "both", **files, batch_size=job["batch"], shuffle=True, data_format="npz"
            )
            model.fit(loaders[0], epochs=1, validation_data=loaders[1])
        predictions = model.predict(loaders[2])
    _, y_test = columns(job["data"], "test", shape)
    scores = np.stack([predictions[name] for name in labels(shape)], 1)
    return clock.told(samples=loaders[0].num_samples, auc=mean_auc(y_test, scores))


def rank(job: dict[str, Any]) -> dict[str, Any]:
    """Predict the candidates of one user with the model's `predict`, which receives them as a batch in memory."""
    x, _ = columns(job["data"], "test", shape_of(job), job["candidates"])
    times = []
    with tempfile.TemporaryDirectory() as folder:
        model = _model(job, folder)
        for _ in range(job["repeats"]):
            with Clock() as clock:
                model.predict([{name: torch.from_numpy(column) for name, column in x.items()}])
            times.append(clock.told())
    return {"times": times}


def load(job: dict[str, Any]) -> dict[str, Any]:
    """Read its npz files, or with `ray` Parquet, into its loader. Ray's processes are counted."""
    torch.set_num_threads(job["threads"])
    shape, ray = shape_of(job), job.get("ray", False)
    path = str(Path(job["data"]) / "train.parquet") if ray else _npz(job, "train")

    def batches() -> Any:
        options = {"batch_size": job["batch"], "shuffle": True, "data_format": "parquet" if ray else "npz"}
        loader, _ = RankDataLoader(_feature_map(shape, job["data"]), "train", train_data=path, **options)
        return (len(batch["y0"]) for batch in loader)

    return first_and_rest(Clock, batches)
