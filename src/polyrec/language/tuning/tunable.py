"""`TunableTransformer`: a language model of which a part is trained with the tasks.

Shape letters: U texts, B texts of a micro-batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from polyrec.language.models.layers_apart import (
    LowerLayers,
    UpperLayers,
    check_apart,
    content_of,
    layers_of,
    padded,
    with_shared_weights,
)
from polyrec.language.tuning.lower_states import LowerStates
from polyrec.language.tuning.tuning import Tuning

TOKENS = 4096
"""Maximum number of tokens of a micro-batch, including padding."""


class TunableTransformer(nn.Module):
    """Maps token ids of texts to vectors (U, D), with the model's pooling and normalisation.

    Only trained weights are parameters of the module; frozen weights are stored outside of them, so that no artifact,
    checkpoint or optimiser contains them. The states below the lowest trained layer are computed once a text and cached
    (`LowerStates`). Micro-batches of texts of similar length have at most `TOKENS` tokens. Set `checkpointing` to recompute
    each in the backward pass (Chen et al., 2016), so that memory holds the activations of a single one.
    """

    def __init__(self, loaded: Any, tuning: Tuning, checkpointing: bool = False, half: bool = False) -> None:
        super().__init__()
        self.width, self.checkpointing, self.filler = loaded.width, checkpointing, loaded.tokenizer.pad_token_id or 0
        self._loaded = loaded._replace(dense=with_shared_weights(loaded.dense))
        layers = len(layers_of(loaded.model))
        changed = tuning.changed(layers)
        self.frozen = layers - changed
        self.content = content_of(loaded.model, loaded.dense, loaded.tokenizer)
        self._below: LowerLayers | None = None
        if changed == 0:
            self._above = UpperLayers(loaded.model, 0)
        else:
            if self.frozen:
                check_apart(loaded.model, self.frozen)
                self._below = LowerLayers(loaded.model, self.frozen)
            self._above = UpperLayers(loaded.model, self.frozen)
            tuning.prepare(self._above.model, self._above.layers)
        self._states: LowerStates | None = None
        if self.frozen:
            what, width = f"states of {self.frozen} layers", loaded.model.config.hidden_size
            if changed == 0:
                what, width = f"{loaded.pooling} {loaded.skipped} {loaded.width} {loaded.normalise}", loaded.width
            self._states = LowerStates(f"{self.content}\n{what}", width, half and changed > 0)
        self.learned = [
            name for name, weight in self._above.model.named_parameters(remove_duplicate=False) if weight.requires_grad
        ]
        for name in self.learned:
            self.register_parameter(name.replace(".", "/"), self._above.model.get_parameter(name))
        self.train()

    def __call__(self, texts: Sequence[Tensor]) -> Tensor:
        return super().__call__(texts)

    def forward(self, texts: Sequence[Tensor]) -> Tensor:
        """Return the vectors (U, D) of texts, each given as one or more token ids (L,)."""
        if not texts:
            return torch.zeros(0, self.width)
        if not self.learned:
            assert self._states is not None
            return torch.cat(self._states.of(texts, self._pooled))
        states = None if self._states is None else self._states.of(texts, self._lower)
        batches = micro_batches([len(text) for text in texts])
        parts = []
        for rows in batches:
            tokens_BL, mask_BL = padded([texts[row] for row in rows], self.filler)
            lower_BLD = None if states is None else nn.utils.rnn.pad_sequence([states[row] for row in rows], batch_first=True)
            if self.checkpointing and torch.is_grad_enabled():
                parts.append(checkpoint(self._read, tokens_BL, mask_BL, lower_BLD, use_reentrant=False))
            else:
                parts.append(self._read(tokens_BL, mask_BL, lower_BLD))
        return torch.cat(parts)[places(batches)]

    def train(self, mode: bool = True) -> TunableTransformer:
        """Set the trained layers to training mode or back; the layers below stay in evaluation mode."""
        super().train(mode)
        self._above.model.train(mode and bool(self.learned))
        return self

    def _read(self, tokens_BL: Tensor, mask_BL: Tensor, lower_BLD: Tensor | None) -> Tensor:
        states_BLD = self._above(tokens_BL, mask_BL, lower_BLD)
        return self._loaded.vectors(states_BLD.float(), mask_BL).float()

    def _pooled(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Return the vectors (1, D) of texts under the frozen model."""
        batches = micro_batches([len(text) for text in texts])
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            parts = [self._read(*padded([texts[row] for row in rows], self.filler), None) for rows in batches]
        return list(torch.cat(parts)[places(batches)].split(1))

    def _lower(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Return the states (L, D) of texts after the frozen layers."""
        assert self._below is not None
        states_of: dict[int, Tensor] = {}
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for rows in micro_batches([len(text) for text in texts]):
                states_BLD = self._below(*padded([texts[row] for row in rows], self.filler))
                states_of |= {row: states[: len(texts[row])] for row, states in zip(rows, states_BLD, strict=True)}
        return [states_of[row] for row in range(len(texts))]


def micro_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Return the indices of texts in batches of similar length, each with at most `TOKENS` padded tokens or a single text."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batches and (len(batches[-1]) + 1) * lengths[row] <= TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def places(batches: Sequence[Sequence[int]]) -> Tensor:
    """Return the position of each text in the concatenated batches."""
    return torch.tensor([row for rows in batches for row in rows]).argsort()
