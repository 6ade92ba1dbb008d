"""`Network`: what the tasks share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Self

from pydantic import Field

from polyrec.core.spec import Family
from polyrec.networks.adapters import Adapters
from polyrec.networks.shared_network import SharedNetwork
from polyrec.trunks.trunk import Trunk


class Network(Family, family="networks"):
    """The shared part between features and tasks: a trunk over the fields, where one is declared, and what tasks share."""

    trunk: Trunk | None = None
    """What turns the fields into the vector that is shared; unset, the fields side by side."""
    products: bool = False
    """Whether products of field pairs stand beside that vector (see `polyrec.layers.products`)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit of a shared layer in training."""
    adapters: Adapters | None = None
    """Features to which each task also listens by itself; unset, tasks have what they share alone."""

    def copies(self, tasks: Sequence[str]) -> int:
        """Return how many copies of the features' learned tables the network reads, side by side in its input."""
        return 1

    def among(self, tasks: Collection[str]) -> Self:
        """Return the declaration for fewer tasks, without the names of others."""
        return self

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        """Make the module for fields of these widths by name, laid side by side in the input, and these tasks.

        Raises `UserError` where the spec names a field or task that is not among them.
        """
        raise NotImplementedError
