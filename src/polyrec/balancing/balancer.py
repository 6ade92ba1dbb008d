"""`Balancer`: combine the losses of all tasks into one loss to differentiate. Shape letters: T tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from polyrec.core.spec import Family


class Gradients(Protocol):
    """Per-task gradients of the current step. Each call costs one backward pass per task."""

    def gramian(self, tasks: Sequence[str]) -> Tensor:
        """Return the inner products (T, T) of the tasks' gradients at the feature boundary, over the rows of all ranks."""
        ...

    def norms(self, tasks: Sequence[str]) -> Tensor:
        """Return the norm (T,) of each task's gradient with respect to the weights of the last shared layer."""
        ...


class Balance(nn.Module):
    """Base of the modules that a `Balancer` builds. Their parameters and buffers are part of every checkpoint."""

    looks_back: ClassVar[bool] = False
    """Whether `look_back` needs the losses of the same batch after the step, which costs a forward pass."""

    constants_T: Tensor
    """Loss of each task's best constant prediction: the unit in which losses are measured."""
    by_name: list[int]
    """Position of each task in alphabetical order. Random numbers are assigned by it, so the order of declaration changes no
    draw."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.by_name = [sorted(self.tasks).index(task) for task in self.tasks]
        self.register_buffer("constants_T", torch.ones(len(self.tasks)))

    def __call__(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        return super().__call__(losses, gradients)

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        """Combine the mean losses of the tasks that have a label in this batch into one loss to differentiate.

        The losses are leaf tensors: the derivative of the result with respect to a loss is the weight of its task.
        """
        raise NotImplementedError

    def known_weights(self) -> Mapping[str, float] | None:
        """Return the task weights if they do not depend on the losses, else None."""
        return None

    def start(self, constants: Mapping[str, float]) -> None:
        """Store the loss of each task's best constant prediction on the training rows; a loss that is not positive is replaced
        by 1."""
        self.constants_T.copy_(torch.tensor([constants[task] if constants[task] > 0 else 1.0 for task in self.tasks]))

    def look_back(self, losses: Mapping[str, Tensor]) -> None:
        """Update the state with the losses of the last batch after its step."""

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Update the state with each task's mean training loss over an epoch; tasks without labels are absent."""

    def present(self, losses: Mapping[str, Tensor]) -> list[int]:
        """Return the positions of the tasks that have a loss, in the order of `tasks`, whatever the order of the mapping."""
        assert losses, "a batch without any label is skipped before balancing"
        return [position for position, task in enumerate(self.tasks) if task in losses]

    def stacked(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the losses of the present tasks as one vector, in the order of `present`."""
        return torch.stack([losses[self.tasks[position]] for position in self.present(losses)])


class Balancer(Family, family="balancers"):
    """Relative weights of the task losses in training."""

    def build(self, tasks: Sequence[str]) -> Balance:
        """Build the module for these tasks. Raises `UserError` if the spec names a task that is not among them."""
        raise NotImplementedError
