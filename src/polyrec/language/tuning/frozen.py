"""Frozen: a language model without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from polyrec.language.tuning.tuning import Tuning


class Frozen(Tuning):
    """Trains no weight of the language model, only the linear layer on its vectors.

    The baseline of every tuning. Each text is encoded once, so that an epoch costs as much as one over numeric features. A
    `Text` feature does the same; this kind shares name and pooling with the tuned models.
    """

    examples = ({},)

    def changed(self, layers: int) -> int:
        return 0

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        assert not layers
