"""`Task`: an objective on the rows of a table, from labels to targets, loss and prediction.

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
"""Field of the labels' struct that contains the numbers of the item, for tasks with `numbers_of`."""

State = pl.DataFrame
"""Statistics of the training labels (classes, a mean): a frame whose columns each kind documents."""


_NAMES = [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
_AFTER = {"anyOf": [{FAMILY_MARK: "links"}, *_NAMES, {"type": "null"}], "default": None}


class Task(Family, family="tasks"):
    """A named label with an objective. A null label means "not observed": it is excluded from the loss and from metrics."""

    metrics: ClassVar[tuple[str, ...]]
    """Names of the metrics that `evaluate` reports, the headline first."""
    is_scalar: ClassVar[bool] = True
    """Whether a prediction is one number per row, which a fusion can use."""
    views: ClassVar[tuple[Literal["inputs", "user", "item"], ...]] = ("inputs",)
    """Hidden states that the head receives: one of all features in `inputs`, or one of the user's and one of the item's."""
    relates_rows: ClassVar[bool] = False
    """Whether the loss of a row depends on other rows of the batch, as a ranking loss does."""
    needs_contrast: ClassVar[bool] = True
    """Whether the task needs at least two different labels to learn from."""
    is_logit: ClassVar[bool] = False
    """Whether the raw output is the logit of one probability and the label zero or one, so that links can multiply it."""
    ranks_catalogue: ClassVar[bool] = False
    """Whether evaluation also ranks all items by the prediction, in addition to metrics on rows."""

    name: str = Field(min_length=1, pattern=r"^[^./\\|]+$")
    """Name of the task and of the column of its prediction."""
    label: str
    """Column, or SQL expression over columns, of the label, such as `rating >= 4`; null means "not observed"."""
    inputs: Literal["all", "user", "item"] | tuple[str, ...] = "all"
    """Features that the task reads: all, those of one side, or some by name. The vectors of the others are zero for it."""
    tower: tuple[int, ...] = (64,)
    """Widths of the task's hidden layers between the shared network and the output."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability in the tower during training."""
    after: Annotated[Link | None, WithJsonSchema(_AFTER)] = None
    """Link to the tasks whose events must happen first, such as a click before a purchase. A name or list of names is short
    for a `Product`: `after: click`."""

    @field_validator("after", mode="before")
    @classmethod
    def _short_for_product(cls, value: Any) -> Any:
        if isinstance(value, str):
            return Product(tasks=(value,))
        return Product(tasks=tuple(value)) if isinstance(value, list | tuple) else value

    @property
    def expressions(self) -> dict[str, str]:
        """Columns or SQL expressions that the task reads from a row, by role; `label` is one of them.

        If there are several, `fit`, `targets` and `observed` receive labels as a struct with a field per role; the struct is
        null where the label is null.
        """
        return {"label": self.label}

    @property
    def numbers_of(self) -> str | None:
        """Name of the item feature whose numbers the task predicts; None for most tasks.

        If set, `fit` and, in training, `targets` receive the numbers next to the label, in the field `NUMBERS`; the head
        receives them, (B, L), after its hidden states.
        """
        return None

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantile levels of the outputs; empty for tasks that do not predict quantiles."""
        return ()

    @property
    def bonus_of_new_items(self) -> float:
        """Amount added to the prediction of an item that is in no training row."""
        return 0.0

    @property
    def is_direct(self) -> bool:
        """Whether the task reads its two inputs directly, without the shared network."""
        return False

    @property
    def uniform_negatives(self) -> int:
        """Number of rows appended to each training batch with items drawn uniformly from the catalogue."""
        return 0

    def fit(self, labels: pl.Series) -> State:
        """Return the state for the observed training labels, at least one; a task that relates rows receives all rows."""
        raise NotImplementedError

    def grow(self, labels: pl.Series, state: State) -> State:
        """Return the state for training that continues from `state` with other labels.

        Classes and scales remain, since the weights depend on them.
        """
        return state

    def outputs(self, state: State) -> int:
        """Return the number of raw outputs per row."""
        return 1

    def build(self, width: int, state: State) -> Head:
        """Build the head that maps hidden states of the network, (B, width), to raw outputs."""
        return TowerHead(width, self.tower, self.outputs(state), self.dropout)

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Encode labels as targets of the loss; the target of a null label is arbitrary but finite."""
        raise NotImplementedError

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        """Return the mask of observed labels, (N,) of booleans: those that are not null."""
        return labels.is_not_null().to_torch()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (B,); it is finite for masked rows, too."""
        raise NotImplementedError

    def counts(self, target: Tensor) -> Tensor:
        """Return the mask of rows that have a loss if observed, (B,) of booleans: all rows unless the task relates rows."""
        return torch.ones(len(target), dtype=torch.bool, device=target.device)

    def as_negatives(self, target: Tensor) -> Tensor:
        """Return the targets of rows that are appended as negatives; see `uniform_negatives`."""
        return target

    def group(self, target: Tensor) -> Tensor | None:
        """Return the group number of each row, (B,), for tasks that compare rows within groups."""
        return None

    def predict(self, raw: Tensor, state: State) -> Tensor:
        """Convert raw outputs to predictions in the units of the label."""
        raise NotImplementedError

    def truth(self, target: Tensor, state: State) -> Tensor:
        """Convert targets to the units of `predict`, for metrics."""
        return target

    def names(self, state: State) -> tuple[str, ...]:
        """Return the column names of a prediction: the name of the task, or one per class."""
        return (self.name,)

    def constant(self, targets: Tensor) -> Tensor:
        """Return the raw output, (1,) or (1, C), of the best constant predictor on these targets, whose skill is 0.

        C may omit trailing classes that do not occur in the targets.
        """
        raise NotImplementedError

    def wrong_labels(self, expected: str, found: str, remedy: str) -> UserError:
        """Return the error for labels that this kind of task cannot learn from."""
        return UserError(f"label {self.label!r} of the task {self.name!r}", expected=expected, found=found, remedy=remedy)
