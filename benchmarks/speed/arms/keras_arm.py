"""Keras on TensorFlow: the two-task id model with `model.fit`, as the tutorials of Keras write it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speed.auc import mean_auc
from speed.clock import Clock
from speed.columns import columns
from speed.workloads import ids, labels, shape_of, size_of


def _model(job: dict[str, Any]) -> keras.Model:
    keras.utils.set_random_seed(job["seed"])
    shape, size = shape_of(job), size_of(job)
    inputs = {name: keras.Input((), name=name, dtype="int32") for name in ids(shape)}
    known = zip(inputs.values(), shape.vocabularies, strict=True)
    x = keras.layers.Concatenate()([keras.layers.Embedding(count, size.width)(column) for column, count in known])
    for width in size.hidden:
        x = keras.layers.Dense(width, activation="relu")(x)
    outputs = {name: keras.layers.Dense(1, activation="sigmoid", name=name)(x) for name in labels(shape)}
    model = keras.Model(inputs, outputs)
    losses = dict.fromkeys(outputs, "binary_crossentropy")
    model.compile(optimizer=keras.optimizers.Adam(size.learning_rate), loss=losses)
    return model


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Fit for one epoch from arrays in memory, and evaluate on the test rows.

    A whole batch and a last one are fitted before the clock starts: TensorFlow's tracing of both shapes is not counted.
    """
    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(job["threads"])
    shape = shape_of(job)
    (x, y), (x_test, y_test) = (columns(job["data"], part, shape) for part in ("train", "test"))
    model = _model(job)
    targets = {name: y[:, at] for at, name in enumerate(labels(shape))}
    head = slice(job["batch"] + len(y) % job["batch"])
    one = ({name: column[head] for name, column in part.items()} for part in (x, targets))
    model.fit(*one, batch_size=job["batch"], verbose=0)
    with Clock() as clock:
        model.fit(x, targets, batch_size=job["batch"], epochs=1, shuffle=True, verbose=0)
    predictions = model.predict(x_test, batch_size=8192, verbose=0)
    scores = np.concatenate([predictions[name] for name in labels(shape)], 1)
    return clock.told(samples=len(y), auc=mean_auc(y_test, scores))
