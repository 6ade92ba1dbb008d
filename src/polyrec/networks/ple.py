"""PLE: levels of own and shared experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from polyrec.networks.cgc import CGC
from polyrec.networks.shared_network import SharedNetwork


class PLE(CGC):
    """Progressive layered extraction (Tang et al., RecSys 2020): levels of `CGC`, each reading the mixtures of the one below.

    `h_t' = sum_e softmax(W_t h_t)_e expert_e`, from `h_t = h = x`; e over the own experts of t, which read h_t, and the shared
    ones, which read h. Below the last level there is one more gate, over the experts of all tasks and the shared:
    `h' = sum_e softmax(W h)_e expert_e`, which the shared experts of the next level read. With one level it is `CGC`; with one
    level and no own experts it is `MMoE`. Unlike ports that widen each level apart, all levels have experts of the same
    widths.
    """

    examples = (
        {},
        {"levels": 3, "own": 1, "shared": 2, "hidden": [8], "products": True, "dropout": 0.1},
        {"own": 0, "shared": 3, "hidden": [16]},
    )

    levels: int = Field(default=2, ge=1)
    """Number of levels."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return self._stack(fields, tasks, self.levels)
