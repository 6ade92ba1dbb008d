"""Checkpoints: the complete state of an interrupted training, without pickle. A resumed training gives identical weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from polyrec.core.errors import UserError
from polyrec.core.files import replacing_folder
from polyrec.train.step import Step


@dataclass
class Progress:
    """State of a training run apart from its tensors."""

    fingerprint: str
    """Hash of declaration, training settings and data: a checkpoint of another run is refused."""
    curves: list[dict[str, float]]
    """One entry per epoch: training loss of each task, validation metrics, utility."""
    best_epoch: int = 0
    """Epoch with the highest utility, counted from 1; 0 before the first epoch ends."""
    best_utility: float = float("-inf")
    steps: int = 0
    """Steps completed in the current epoch; 0 between epochs."""
    probed: dict[str, list[float]] = field(default_factory=dict)
    """Gradient norms and cosines of the current epoch, one value per probed step."""


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    balance: nn.Module,
    step: Step,
    best: dict[str, Tensor] | None,
    progress: Progress,
) -> None:
    """Write a checkpoint atomically: the previous one stays until this one is on disk."""
    moments = {
        f"{number}/{index}/{name}": torch.as_tensor(value)
        for number, optimizer in enumerate(step.optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }
    with replacing_folder(folder) as temporary:
        save_file(_contiguous(model.state_dict()), temporary / "model.safetensors")
        save_file(_contiguous(balance.state_dict()), temporary / "balance.safetensors")
        save_file(_contiguous(moments), temporary / "optimizer.safetensors")
        save_file({"sums": step.sums_2T.clone(), "random": step.random}, temporary / "epoch.safetensors")
        if best is not None:
            save_file(_contiguous(best), temporary / "best.safetensors")
        (temporary / "progress.json").write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")


def load_checkpoint(
    folder: Path, model: nn.Module, balance: nn.Module, step: Step, fingerprint: str
) -> tuple[dict[str, Tensor] | None, Progress]:
    """Restore model, balancer and step from a checkpoint; return the best weights, if any, and the progress.

    Raises `UserError` if the checkpoint belongs to another declaration, other training settings or other data.
    """
    thing = f"checkpoint '{folder}'"
    remedy = "Remove the folder to start again, or use the declaration and data that it was written with."
    try:
        progress = Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise UserError(thing, expected="a checkpoint of this version", found=str(error), remedy=remedy) from error
    if progress.fingerprint != fingerprint:
        found = "one of another declaration, training or data"
        raise UserError(thing, expected="a checkpoint of this very run", found=found, remedy=remedy)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    balance.load_state_dict(load_file(folder / "balance.safetensors"))
    moments: list[dict[int, dict[str, Any]]] = [{} for _ in step.optimizers]
    for key, value in load_file(folder / "optimizer.safetensors").items():
        number, index, name = key.split("/", 2)
        moments[int(number)].setdefault(int(index), {})[name] = value
    for optimizer, states in zip(step.optimizers, moments, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        _match_strides(optimizer)
    epoch = load_file(folder / "epoch.safetensors")
    step.sums_2T.copy_(epoch["sums"])
    step.random = epoch["random"]
    best = folder / "best.safetensors"
    return load_file(best) if best.exists() else None, progress


def _match_strides(optimizer: optim.Optimizer) -> None:
    """Give moments the strides of their parameters, which fused optimisers require."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value).detach().contiguous().clone() for name, value in tensors.items()}
