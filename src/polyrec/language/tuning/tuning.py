"""`Tuning`: which weights of a language model are trained with the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from polyrec.core.errors import UserError
from polyrec.core.spec import Family


class Tuning(Family, family="tunings"):
    """A choice of the trained weights of a transformer.

    All layers below the lowest trained one stay frozen, so that their states can be computed once a text.
    """

    def changed(self, layers: int) -> int:
        """Return how many of a model's `layers` layers are trained, counted from the top.

        Raises `UserError` if the model has fewer.
        """
        raise NotImplementedError

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        """Make the weights to train in some `layers` of a frozen model require gradients."""
        raise NotImplementedError


def too_many(thing: str, count: int, layers: int) -> UserError:
    """Return the error for a tuning of more layers than a model has."""
    return UserError(thing, expected=f"at most {layers}, the layers of the model", found=f"{count}", remedy="Lower it.")
