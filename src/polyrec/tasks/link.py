"""`Link`: what it means that a task comes after others. A new kind of link is one file.

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
    """A task, as far as links look at it."""

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
    """A task, and the tasks before it."""

    task: str
    earlier: tuple[str, ...]
    """The tasks right before it."""
    chain: tuple[str, ...]
    """The task and all before it by links of the same kind, each once, in the order of first mention."""
    logits: frozenset[str]
    """Those of all tasks whose raw output is the logit of one probability."""


class LinkModule(nn.Module):
    """Base of the modules that carry something from the earlier tasks' heads into a later one's."""

    def __call__(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        return super().__call__(state_BH, earlier_BH)

    def forward(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        """Return the later task's state, given its state so far and those of the earlier tasks."""
        raise NotImplementedError


class Link(Family, family="links"):
    """How a task depends on the tasks that must have happened before it (view, click, cart, buy: any graph without a cycle)."""

    forms_path: ClassVar[bool] = False
    """Whether `probability` is the prediction over all rows, of the task and of the others on its path."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of the tasks that come right before."""

    def check(self, task: Linked, earlier: Linked) -> None:
        """Raise `ValueError` where the task, or the one right before it, is of a kind that cannot be linked this way."""

    def build(self, width: int, earlier: Sequence[int]) -> LinkModule | None:
        """Make the module between the heads, given the widths of their states; None where nothing is carried over."""
        return None

    def probability(self, path: Path, raw: Raw) -> Tensor:
        """Return the prediction of the task over all rows, (B,), for a link that forms a path."""
        raise NotImplementedError

    def loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        """Return the loss of each row, (B,), of a link that forms a path; the task is judged by it.

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
        """Return the loss of each row, (B,), that the task is trained by: `loss`, and what the link adds to it in training."""
        return self.loss(loss_B, path, raw, targets, probability)

    def complete(self, task: Linked, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the task's targets and mask, completed by what is known of the earlier tasks.

        Tasks without labels at hand are not among `targets`. Raises `UserError` where the labels contradict each other.
        """
        return targets[task.name], masks[task.name]

    def label(self, label: str, earlier: Sequence[str]) -> str:
        """Return the SQL expression of the label that the task has without the others, given the labels of the earlier ones."""
        return label


def happened(earlier: Sequence[str], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
    """Return in which rows all of some tasks are observed and true, (N,) of booleans."""
    rows = [masks[name] & (targets[name] == 1) for name in earlier]
    return torch.stack(rows).all(0)
