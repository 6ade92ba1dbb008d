"""`Balancer`: how the tasks' losses become one step. Shape letters: T tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from polyrec.core.spec import Family


class Gradients(Protocol):
    """What a balance may ask about the tasks' gradients at this step; each call costs a backward pass a task."""

    def gramian(self, tasks: Sequence[str]) -> Tensor:
        """Return the inner products (T, T) of the tasks' gradients at the feature boundary, over the rows of all ranks."""
        ...

    def norms(self, tasks: Sequence[str]) -> Tensor:
        """Return the norm (T,) of each task's gradient in the weights of the last shared layer."""
        ...


class Balance(nn.Module):
    """Base of the modules that a `Balancer` builds; what they learn or count is part of every checkpoint."""

    looks_back: ClassVar[bool] = False
    """Whether `look_back` wants the losses of the same batch after the step, which costs a forward pass."""

    constants_T: Tensor
    """Loss of each task's best constant: what a loss is measured by."""
    by_name: list[int]
    """Place of each task by name, by which random numbers are dealt: the order of declaration changes no draw."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.by_name = [sorted(self.tasks).index(task) for task in self.tasks]
        self.register_buffer("constants_T", torch.ones(len(self.tasks)))

    def __call__(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        return super().__call__(losses, gradients)

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        """Combine the mean losses of the tasks that have a label in this batch into the one to differentiate.

        The losses are leaves: what is learned from a task is the derivative of the result by its loss.
        """
        raise NotImplementedError

    def known_weights(self) -> Mapping[str, float] | None:
        """Return the tasks' weights where they are known before the losses are; None where they depend on them."""
        return None

    def start(self, constants: Mapping[str, float]) -> None:
        """Take note of the loss of each task's best constant on the training rows; 1 stands for one that is not positive."""
        self.constants_T.copy_(torch.tensor([constants[task] if constants[task] > 0 else 1.0 for task in self.tasks]))

    def look_back(self, losses: Mapping[str, Tensor]) -> None:
        """Take note of the losses of the last batch after its step."""

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Take note of the mean training loss of each task over an epoch; a task without labels is absent."""

    def present(self, losses: Mapping[str, Tensor]) -> list[int]:
        """Return the positions among all tasks of those with a loss, in the order of `tasks` whatever that of the mapping."""
        assert losses, "a batch without any label is skipped before balancing"
        return [position for position, task in enumerate(self.tasks) if task in losses]

    def stacked(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the losses of the present tasks as one vector, in the order of `present`."""
        return torch.stack([losses[self.tasks[position]] for position in self.present(losses)])


class Balancer(Family, family="balancers"):
    """The weight of each task against the others during training."""

    def build(self, tasks: Sequence[str]) -> Balance:
        """Make the module for these tasks; raises `UserError` where the spec names a task that is not among them."""
        raise NotImplementedError
