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
    """By task, where one is calibrated."""
    frames: Frames
    weights: Mapping[str, Tensor]
    facts: Facts
    card: str
    fusion_states: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """By the fusion's own names, where it learned something."""


def states_hash(start: Parts) -> str:
    """Return the SHA-256 of what features and tasks of a start have learned besides weights."""
    told = [f"{name} {frame_hash(own[name])}" for own in (start.feature_states, start.task_states) for name in sorted(own)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def start_hash(start: Parts) -> str:
    """Return the SHA-256 of all that training from a start depends on."""
    found = hashlib.sha256(states_hash(start).encode())
    for name in sorted(start.weights):
        found.update(name.encode() + start.weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
