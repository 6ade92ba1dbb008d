"""LastLayers: the top of a language model, learned whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from torch import nn

from polyrec.language.tuning.tuning import Tuning, too_many


class LastLayers(Tuning):
    """All weights of the last layers are learned, as in ordinary fine-tuning of a part (Howard and Ruder, ACL 2018).

    What lies below, and a final normalisation above, stays as it is. A layer of MiniLM has 1.8 million weights, one of
    SmolLM2-135M 3.5 million: they go into the artifact, in full.
    """

    examples = ({"count": 1}, {"count": 2})

    count: int = Field(default=1, gt=0)
    """How many layers, counted from the top."""

    def changed(self, layers: int) -> int:
        if self.count > layers:
            raise too_many("`count` of LastLayers", self.count, layers)
        return self.count

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        for layer in layers:
            for weight in layer.parameters():
                weight.data = weight.data.clone()
                weight.requires_grad_(True)
