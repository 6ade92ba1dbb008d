"""Frozen: a language model that is read as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from polyrec.language.tuning.tuning import Tuning


class Frozen(Tuning):
    """No weight of the language model is learned; only the linear layer on its vectors is.

    The baseline of every tuning. Vectors are computed once a text, so that an epoch costs as much as one over numbers: what
    a `Text` feature does, here under the same name and pooling as the tuned models.
    """

    examples = ({},)

    def changed(self, layers: int) -> int:
        return 0

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        assert not layers
