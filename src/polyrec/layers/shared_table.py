"""One embedding table for the ids of several features.

Shape letters: B rows of a batch, F requested features, K width of a feature, U rows of one feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

FIRST_DEVIATION = 0.01
"""Standard deviation of the initial weights of a table: small, so that untrained rows have almost no effect."""


class SharedTable(nn.Module):
    """Embedding tables of several id features of equal width, stacked in a single `nn.Embedding`.

    Number n of a feature is row `start + n`. Reading F features of a batch takes one gather, and updating their rows takes one
    pass over the distinct rows of the batch; separate tables take F of each. Features share storage but no rows.
    """

    def __init__(self, rows: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.rows = dict(rows)
        self.starts: dict[str, int] = {}
        total = 0
        for name, count in rows.items():
            self.starts[name] = total
            total += count
        self.table = nn.Embedding(total, width)
        nn.init.normal_(self.table.weight, std=FIRST_DEVIATION)

    def __call__(self, names: Sequence[str], ids: Sequence[Tensor]) -> Tensor:
        return super().__call__(names, ids)

    def forward(self, names: Sequence[str], ids: Sequence[Tensor]) -> Tensor:
        """Return the concatenated rows (B, F K) of the named features for their numbers (B,) each."""
        starts_F = [self.starts[name] for name in names]
        rows_BF = torch.stack(tuple(ids), 1)
        if any(starts_F):
            rows_BF = rows_BF + torch.tensor(starts_F, dtype=rows_BF.dtype)
        return self.table(rows_BF).flatten(1)

    def lookup(self, name: str, numbers: Tensor) -> Tensor:
        """Return the rows of one feature for numbers of any shape (…), as (…, K)."""
        start = self.starts[name]
        return self.table(numbers + start if start else numbers)

    def of(self, name: str) -> Tensor:
        """Return the rows of one feature, (U, K), as a view."""
        start = self.starts[name]
        return self.table.weight[start : start + self.rows[name]]
