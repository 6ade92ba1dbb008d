"""`Tuning`: which weights of a language model are learned with the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from polyrec.core.errors import UserError
from polyrec.core.spec import Family


class Tuning(Family, family="tunings"):
    """What is learned of a transformer of `layers` layers. All below the lowest layer that is learned in stays frozen, so that
    its states can be computed once a text."""

    def changed(self, layers: int) -> int:
        """Return how many layers, counted from the top, are changed.

        Raises `UserError` where the model has fewer.
        """
        raise NotImplementedError

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        """Make learnable, in a model whose weights are frozen, what is to be learned of those `layers` of it."""
        raise NotImplementedError


def too_many(thing: str, asked: int, layers: int) -> UserError:
    """Return the error for a tuning of more layers than a model has."""
    return UserError(thing, expected=f"at most {layers}, the layers of the model", found=f"{asked}", remedy="Lower it.")
