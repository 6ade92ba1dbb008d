"""`Parts`: the contents of a fitted recommender."""

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
    """The contents of a fitted recommender."""

    spec: Declaration
    feature_states: Mapping[str, pl.DataFrame]
    task_states: Mapping[str, pl.DataFrame]
    calibration_states: Mapping[str, pl.DataFrame]
    """By task, for calibrated tasks only."""
    frames: Frames
    weights: Mapping[str, Tensor]
    facts: Facts
    card: str
    fusion_states: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """By names that the fusion chooses; empty if it learned nothing."""


def states_hash(start: Parts) -> str:
    """Return the SHA-256 of the states of features and tasks of a start."""
    groups = (start.feature_states, start.task_states)
    lines = [f"{name} {frame_hash(states[name])}" for states in groups for name in sorted(states)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def start_hash(start: Parts) -> str:
    """Return the SHA-256 of the states and weights of a start, on which continued training depends."""
    digest = hashlib.sha256(states_hash(start).encode())
    for name in sorted(start.weights):
        digest.update(name.encode() + start.weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
