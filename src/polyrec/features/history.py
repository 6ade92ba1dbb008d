"""History: a user's earlier interactions, pooled to one vector.

Shape letters: B rows, E events, L length of a history, M elements of all histories, K width of its elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Column, Dense, Indexed, Lookup, Padded, Paired, Sequence, appended, few
from polyrec.core.errors import nearest
from polyrec.features.derived import Derived, DerivedEncoder, Features, Past, Reader, Scope
from polyrec.features.feature import ExportObstacle, Feature, State
from polyrec.poolings.mean import Mean
from polyrec.poolings.pooling import Pooling, PoolingModule
from polyrec.poolings.recurrent import Recurrent


class History(Derived):
    """The user's newest `length` earlier rows, each encoded by another feature `of` this recommender.

    A history holds strictly rows BEFORE each row's time: rows of the same instant are not in each other's history. Earlier rows
    share the encoder of the feature `of` (one embedding table for an item as candidate and as element) and are pooled to one
    vector, which a linear layer maps to (B, width) if the two widths differ. The state is the interaction log, kept once for
    all histories.
    """

    examples = (
        {"name": "watched", "of": "item_id", "length": 20},
        {"name": "likes", "of": "item_id", "pooling": "SASRec"},
        {"name": "met", "of": "item_id", "pooling": {"kind": "Recurrent", "cell": "lstm"}},
    )

    of: str
    """Name of the feature that encodes the earlier rows."""
    length: int = Field(default=50, gt=0)
    """Maximum number of earlier rows, the newest."""
    where: str | None = None
    """SQL condition that selects earlier rows, such as `rating >= 4`. It may name a label, because their labels are past."""
    pooling: Pooling = Mean()
    """Pooling of the earlier rows to one vector."""

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def reads_log(self) -> bool:
        return True

    @property
    def conditions(self) -> Mapping[str, str]:
        return {self._condition: self.where} if self.where else {}

    @property
    def longest(self) -> int:
        return self.length

    @property
    def sees_target(self) -> bool:
        return self.pooling.sees_target

    @property
    def _condition(self) -> str:
        return f"condition of the history {self.name!r}"

    def check(self, scope: Scope) -> None:
        thing, read = f"history {self.name!r}", scope.features.get(self.of)
        options = [name for name, feature in scope.features.items() if is_readable(feature)]
        if read is None or not is_readable(read):
            raise ValueError(f"{thing} is of {self.of!r}, which is no feature that it can read. {nearest(self.of, options)}")
        if scope.sides[self.name] != "user" or not scope.has_user_key:
            raise ValueError(f"{thing} belongs in `user`, next to a Categorical that is the user's key")
        if not self.sees_target:
            return
        for task, views in scope.views.items():
            if any(self.name in view and self.of not in view for view in views):
                raise ValueError(
                    f"task {task!r} sees the {thing} but not {self.of!r}, with which its pooling compares the history. "
                    "Choose another pooling, or other `inputs` for the task."
                )

    def log_columns(self, features: Features) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for feature in self._elements(features) for column in feature.columns))

    def column(self, features: Features, states: Mapping[str, State], log: Past | None, rows: pl.DataFrame | None) -> Sequence:
        assert log is not None and rows is not None
        past = log.where(self.where, self._condition)
        ends, lengths = past.positions(rows, self.length)
        elements = past.frame.select(self.log_columns(features))
        if elements.height == 0:
            elements = pl.DataFrame({name: [None] for name in elements.columns}, schema=elements.schema)
        columns = [
            _once(feature.encode(elements.select(feature.columns), states[feature.name]))
            for feature in self._elements(features)
        ]
        return Sequence(_paired(columns), ends, lengths)

    def extended(
        self, column: Column, row: int, events: Past, features: Features, elements: Callable[[Feature, Tensor], Column]
    ) -> Column | None:
        assert isinstance(column, Sequence)
        matches_E = events.matches(self.where, self._condition)[-self.length :]
        if len(matches_E) == 0:
            return None
        new = _paired([elements(feature, matches_E) for feature in self._elements(features)])
        end, kept = int(column.ends_N[row]), min(int(column.lengths_N[row]), self.length - len(matches_E))
        both = appended(few(column.elements, torch.arange(end - kept, end)), new) if kept else new
        total = torch.tensor([kept + len(matches_E)])
        return Sequence(both, total, total)

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> HistoryPooling:
        inputs = widths[self.of]
        return HistoryPooling(self.pooling.build(inputs, self.length), inputs, self.width, self.name, self.of, self.sees_target)

    def export_obstacle(self, features: Features) -> ExportObstacle | None:
        if len(self._elements(features)) > 1:
            found, remedy = f"the joint {self.of!r}, an id and its content", "Serve the model with polyrec."
            return ExportObstacle("elements of one input", found, remedy)
        if isinstance(self.pooling, Recurrent):
            found = "the pooling Recurrent, whose number of steps is each history's length"
            remedy = "Choose another pooling, such as SASRec or Mean, or serve the model with polyrec."
            return ExportObstacle("a pooling with the same operations for every row", found, remedy)
        return None

    def _elements(self, features: Features) -> tuple[Feature, ...]:
        """Return the features that encode the elements: those that a joint replaces, else the feature `of` itself."""
        read = features[self.of]
        return tuple(features[name] for name in read.replaces) if isinstance(read, Derived) else (read,)


class HistoryPooling(DerivedEncoder):
    """Pool the elements of a history (B, L, K), then project the vector if the elements have another width."""

    def __init__(self, pooling: PoolingModule, inputs: int, width: int, name: str, of: str, sees_target: bool) -> None:
        super().__init__()
        self.pooling = pooling
        self.projection = nn.Identity() if inputs == width else nn.Linear(inputs, width)
        self.name, self.of, self.sees_target = name, of, sees_target

    def forward(self, reader: Reader) -> Tensor:
        past = reader.input(self.name)
        assert isinstance(past, Padded)
        x_MK = reader.elements(self.of, past.elements)
        x_BLK = x_MK.view(*past.mask_BL.shape, x_MK.shape[1])
        target_BK = reader.elements(self.of, reader.input(self.of)) if self.sees_target else x_BLK[:, -1]
        return self.pool(x_BLK, past.mask_BL, target_BK)

    def pool(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        """Return the vectors (B, width) of histories with a mask (B, L), given each row's candidate (B, K)."""
        return self.projection(self.pooling(x_BLK, mask_BL, target_BK))


def is_readable(feature: Feature) -> bool:
    """Return whether a history can read a feature: one with columns, or a derived one that replaces such features."""
    return not isinstance(feature, Derived) or bool(feature.replaces)


def _paired(columns: list[Column]) -> Column:
    return columns[0] if len(columns) == 1 else Paired(*columns)


def _once(column: Column) -> Column:
    """Return a column that returns each distinct vector once per batch, because many elements share few vectors."""
    return Lookup(Dense(column.table_U), column.index_N) if isinstance(column, Indexed) else column
