"""`Network`: the layers that tasks share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Self

from pydantic import Field

from polyrec.core.spec import Family
from polyrec.networks.adapters import Adapters
from polyrec.networks.shared_network import SharedNetwork
from polyrec.trunks.trunk import Trunk


class Network(Family, family="networks"):
    """Shared part between features and tasks: an optional trunk over the fields, followed by layers shared by the tasks."""

    trunk: Trunk | None = None
    """Layers that map the fields to the shared representation; if unset, the concatenated fields."""
    products: bool = False
    """Set `products` to append products of field pairs to that representation (see `polyrec.layers.products`)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability of the shared layers in training."""
    adapters: Adapters | None = None
    """Features with additional per-task maps; if unset, tasks read the shared representation only."""

    def copies(self, tasks: Sequence[str]) -> int:
        """Return the number of copies of the features' embedding tables that the network reads, concatenated in its input."""
        return 1

    def among(self, tasks: Collection[str]) -> Self:
        """Return the declaration restricted to these tasks, without the names of others."""
        return self

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        """Build the module for these tasks and for concatenated fields of these widths by name.

        Raises `UserError` if the spec names a field or task that is not among them.
        """
        raise NotImplementedError
