"""`Parts`: all that a fitted recommender consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import torch
from torch import Tensor

from polyrec.artifact.facts import Facts, Frames
from polyrec.core.frames import frame_hash
from polyrec.declaration.declaration import Declaration


@dataclass(frozen=True)
class Parts:
    """All that a fitted recommender consists of."""

    spec: Declaration
    feature_states: Mapping[str, pl.DataFrame]
    task_states: Mapping[str, pl.DataFrame]
    calibration_states: Mapping[str, pl.DataFrame]
    """By task, for calibrated tasks."""
    frames: Frames
    weights: Mapping[str, Tensor]
    facts: Facts
    card: str
    fusion_states: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """By the names that the fusion gives them; empty if it does not learn."""


def states_hash(start: Parts) -> str:
    """Return the SHA-256 of the states of features and tasks of a start."""
    kinds = (start.feature_states, start.task_states)
    lines = [f"{name} {frame_hash(states[name])}" for states in kinds for name in sorted(states)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def start_hash(start: Parts) -> str:
    """Return the SHA-256 of everything that training from a start depends on: states and weights."""
    digest = hashlib.sha256(states_hash(start).encode())
    for name in sorted(start.weights):
        digest.update(name.encode() + start.weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
