"""`Link`: the dependence of a task on earlier tasks. A new kind of link is one file.

Shape letters: N rows of a table, B rows of a batch, H width of a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.spec import Family

Raw = Mapping[str, Tensor]
"""Raw outputs by task, (B,) or (B, C)."""


class Linked(Protocol):
    """The properties of a task that links read."""

    @property
    def name(self) -> str:
        """Name of the task."""
        ...

    @property
    def label(self) -> str:
        """SQL expression of its label."""
        ...

    @property
    def is_logit(self) -> bool:
        """Whether its raw output is the logit of one probability."""
        ...


@dataclass(frozen=True)
class Path:
    """A task and the tasks before it."""

    task: str
    earlier: tuple[str, ...]
    """Direct predecessors of the task."""
    chain: tuple[str, ...]
    """The task and all its predecessors by links of the same kind, each once, in the order of first mention."""
    logits: frozenset[str]
    """The tasks of the model whose raw output is the logit of one probability."""


class LinkModule(nn.Module):
    """Base of the modules that pass states from the heads of earlier tasks to the head of a later one."""

    def __call__(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        return super().__call__(state_BH, earlier_BH)

    def forward(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        """Return the new state of the later task, given its state and those of the earlier tasks."""
        raise NotImplementedError


class Link(Family, family="links"):
    """The dependence of a task on tasks that must happen before it (view, click, cart, buy: any acyclic graph)."""

    forms_path: ClassVar[bool] = False
    """Whether `probability` gives the predictions of the task and of the others on its path, over all rows."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of the direct predecessors."""

    def check(self, task: Linked, earlier: Linked) -> None:
        """Raise `ValueError` if the task or its predecessor is of a kind that this link does not support."""

    def build(self, width: int, earlier: Sequence[int]) -> LinkModule | None:
        """Build the module between the heads, given the widths of their states; None if the link passes no states."""
        return None

    def probability(self, path: Path, raw: Raw) -> Tensor:
        """Return the prediction of the task over all rows, (B,), if the link forms a path."""
        raise NotImplementedError

    def loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        """Return the loss of each row, (B,), by which the task is evaluated, if the link forms a path.

        `loss_B` computes the loss of the task alone; `probability` returns the prediction of another task over all rows.
        """
        return loss_B()

    def training_loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        """Return the training loss of each row, (B,): `loss` plus the terms that the link adds in training."""
        return self.loss(loss_B, path, raw, targets, probability)

    def complete(self, task: Linked, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the targets and the mask of the task, completed by the labels of earlier tasks.

        `targets` omits tasks without labels. Raises `UserError` where labels contradict each other.
        """
        return targets[task.name], masks[task.name]

    def label(self, label: str, earlier: Sequence[str]) -> str:
        """Return the SQL expression of the task's label if it is learned alone, given the labels of the earlier tasks."""
        return label


def happened(earlier: Sequence[str], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
    """Return the mask of rows in which all `earlier` tasks are observed and true, (N,) of booleans."""
    rows = [masks[name] & (targets[name] == 1) for name in earlier]
    return torch.stack(rows).all(0)
