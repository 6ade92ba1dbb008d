"""PLE: stacked levels of task experts and shared experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from polyrec.networks.cgc import CGC
from polyrec.networks.shared_network import SharedNetwork


class PLE(CGC):
    """Progressive layered extraction (Tang et al., RecSys 2020): levels of `CGC`, each reading the mixtures of the previous
    one.

    `h_t' = sum_e softmax(W_t h_t)_e expert_e`, from `h_t = h = x`; e over the experts of t, which read h_t, and the shared
    ones, which read h. Every level except the last has one more gate, over all experts: `h' = sum_e softmax(W h)_e expert_e`,
    which the shared experts of the next level read. With one level it is `CGC`; with one level and no task experts it is
    `MMoE`. Unlike implementations that set the widths per level, all levels have experts of the same widths.
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
