"""`Task`: something to learn about a row. Labels, targets, loss, prediction: the stations of every task.

Shape letters: B rows, H hidden width, C outputs.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
import torch
from pydantic import Field, WithJsonSchema, field_validator
from torch import Tensor

from polyrec.core.errors import UserError
from polyrec.core.spec import FAMILY_MARK, Family
from polyrec.tasks.head import Head, TowerHead
from polyrec.tasks.link import Link
from polyrec.tasks.product import Product

NUMBERS = "numbers"
"""The field beside the label that holds an item's numbers, for tasks that are given them."""

State = pl.DataFrame
"""What a task learned from the training labels (classes, a mean): a frame whose columns each kind documents."""


_NAMES = [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
_AFTER = {"anyOf": [{FAMILY_MARK: "links"}, *_NAMES, {"type": "null"}], "default": None}


class Task(Family, family="tasks"):
    """A named label with an objective. A null label means "not observed": it counts neither in the loss nor in a metric."""

    metrics: ClassVar[tuple[str, ...]]
    """Names of the metrics that `evaluate` reports, the headline first."""
    is_scalar: ClassVar[bool] = True
    """Whether a prediction is one number a row, which a fusion can use."""
    views: ClassVar[tuple[Literal["inputs", "user", "item"], ...]] = ("inputs",)
    """What the head is given a hidden state of: the features of `inputs`, or the user's and the item's side apart."""
    relates_rows: ClassVar[bool] = False
    """Whether the loss of a row looks at other rows of the batch, as a ranking loss does."""
    needs_contrast: ClassVar[bool] = True
    """Whether labels that are one value throughout teach nothing."""
    is_logit: ClassVar[bool] = False
    """Whether the raw output is the logit of one probability, and the label zero or one: what links can multiply."""
    ranks_catalogue: ClassVar[bool] = False
    """Whether the task is judged by ranking all items by its prediction, besides the metrics of its rows."""

    name: str = Field(min_length=1, pattern=r"^[^./\\|]+$")
    """Name of the task, and the column of its prediction."""
    label: str
    """Column, or SQL expression over columns, that holds what was observed: `rating >= 4`."""
    inputs: Literal["all", "user", "item"] | tuple[str, ...] = "all"
    """Features that the task may see: all, one side, or some by name. The shared network runs with the others at zero."""
    tower: tuple[int, ...] = (64,)
    """Widths of the task's own layers between the shared network and the output."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit of the tower in training."""
    after: Annotated[Link | None, WithJsonSchema(_AFTER)] = None
    """Tasks that must have happened first, and what that means for this one: `after: click` is short for a `Product`."""

    @field_validator("after", mode="before")
    @classmethod
    def _short_for_product(cls, value: Any) -> Any:
        if isinstance(value, str):
            return Product(tasks=(value,))
        return Product(tasks=tuple(value)) if isinstance(value, list | tuple) else value

    @property
    def expressions(self) -> dict[str, str]:
        """The columns or SQL expressions that the task reads of a row, by role; `label` is among them.

        Where there are several, the labels handed to `fit`, `targets` and `observed` are a struct with a field for each role,
        null as a whole where the label is null.
        """
        return {"label": self.label}

    @property
    def numbers_of(self) -> str | None:
        """Name of the feature of the item whose numbers the task learns to tell, if it does.

        The labels handed to `fit` and, in training, to `targets` then hold them beside the label, under `NUMBERS`; the head is
        given them, (B, L), after its hidden states.
        """
        return None

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantile levels that the outputs stand for; empty for tasks that are not about quantiles."""
        return ()

    @property
    def bonus_of_new_items(self) -> float:
        """What is added to the prediction of an item that no training row holds."""
        return 0.0

    @property
    def is_direct(self) -> bool:
        """Whether the task reads its two inputs as they are, past the shared network."""
        return False

    @property
    def uniform_negatives(self) -> int:
        """Rows that every training batch is given beside its own, whose items are drawn uniformly from all items."""
        return 0

    def fit(self, labels: pl.Series) -> State:
        """Learn the state from the observed training labels, at least one; where a task relates rows, from all rows."""
        raise NotImplementedError

    def grow(self, labels: pl.Series, state: State) -> State:
        """Return what the state becomes where training goes on with other labels: classes and scales stay, for weights were
        learned by them."""
        return state

    def outputs(self, state: State) -> int:
        """Number of raw outputs a row."""
        return 1

    def build(self, width: int, state: State) -> Head:
        """Make the head that maps the network's (B, width) to raw outputs."""
        return TowerHead(width, self.tower, self.outputs(state), self.dropout)

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Encode labels for the loss; the value at a null is arbitrary but finite."""
        raise NotImplementedError

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        """Return which labels count, (N,) of booleans: those that are not null."""
        return labels.is_not_null().to_torch()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (B,); finite also where it does not count."""
        raise NotImplementedError

    def counts(self, target: Tensor) -> Tensor:
        """Return which rows have a loss, (B,) of booleans, besides being observed: all but for tasks that relate rows."""
        return torch.ones(len(target), dtype=torch.bool, device=target.device)

    def as_negatives(self, target: Tensor) -> Tensor:
        """Return the targets that rows have where they were drawn as negatives, with `uniform_negatives`."""
        return target

    def group(self, target: Tensor) -> Tensor | None:
        """Return the number of each row's group, (B,), for tasks that compare rows within groups."""
        return None

    def predict(self, raw: Tensor, state: State) -> Tensor:
        """Turn raw outputs into predictions in the label's own units."""
        raise NotImplementedError

    def truth(self, target: Tensor, state: State) -> Tensor:
        """Return encoded labels in the units of `predict`, as metrics compare them."""
        return target

    def names(self, state: State) -> tuple[str, ...]:
        """Names of the columns of a prediction: the task's own, or one for each class."""
        return (self.name,)

    def constant(self, targets: Tensor) -> Tensor:
        """Return the raw output, (1,) or (1, C), of the best constant predictor on these targets: the zero of skill.

        Classes of which these targets hold none, at the end, may be left out of C.
        """
        raise NotImplementedError

    def wrong_labels(self, expected: str, found: str, remedy: str) -> UserError:
        """Return the error for labels that this kind cannot learn from."""
        return UserError(f"label {self.label!r} of the task {self.name!r}", expected=expected, found=found, remedy=remedy)
