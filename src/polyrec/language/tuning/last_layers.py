"""LastLayers: the top layers of a language model, fully trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from torch import nn

from polyrec.language.tuning.tuning import Tuning, too_many


class LastLayers(Tuning):
    """Trains all weights of the last layers, as in partial fine-tuning (Howard and Ruder, ACL 2018).

    The layers below and a final normalisation stay frozen. The artifact contains all trained weights: 1.8 million per layer of
    MiniLM, 3.5 million per layer of SmolLM2-135M.
    """

    examples = ({"count": 1}, {"count": 2})

    count: int = Field(default=1, gt=0)
    """Number of trained layers, counted from the top."""

    def changed(self, layers: int) -> int:
        if self.count > layers:
            raise too_many("`count` of LastLayers", self.count, layers)
        return self.count

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        for layer in layers:
            for weight in layer.parameters():
                weight.data = weight.data.clone()
                weight.requires_grad_(True)
