"""A transformer in two parts: lower layers from tokens to states, upper layers from these states to the last ones.

Shape letters: B texts, L tokens, D width.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from polyrec.core.errors import UserError

_ALIKE = 1e-3
"""Largest deviation between the two parts and the complete model, relative to the states' size, that counts as rounding."""


class LowerLayers:
    """The first `count` layers of a transformer, frozen and without dropout; they share their weights with the model."""

    def __init__(self, model: Any, count: int) -> None:
        self.model = with_shared_weights(model).eval()
        layers = layers_of(self.model)
        self.capture = _Capture(_returns_tuple(model))
        layers[count].forward = self.capture
        for layer in layers[count + 1 :]:
            layer.forward = _PassThrough(self.capture.is_tuple)

    def __call__(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the states (B, L, D) that are the input of layer `count`."""
        self.model(input_ids=tokens_BL, attention_mask=mask_BL)
        states_BLD = self.capture.states
        assert states_BLD is not None
        self.capture.states = None
        return states_BLD


class UpperLayers:
    """The layers of a transformer from `first` on and the modules after them; their input are the states of the lower layers.

    `model` is a separate model that shares the frozen weights of the original; `layers` are its upper layers, which may be
    changed. Any architecture of transformers works whose layers are in one list and take the states as their first argument;
    `check_apart` refuses others by comparing both parts with the complete model.
    """

    def __init__(self, model: Any, first: int) -> None:
        self.model = with_shared_weights(model)
        every = layers_of(self.model)
        self.layers = list(every[first:])
        self.input: _Input | None = None
        if first:
            is_tuple = _returns_tuple(model)
            self.input = _Input(is_tuple)
            for layer in every[: first - 1]:
                layer.forward = _PassThrough(is_tuple)
            every[first - 1].forward = self.input

    def __call__(self, tokens_BL: Tensor, mask_BL: Tensor, states_BLD: Tensor | None) -> Tensor:
        """Return the last hidden states (B, L, D), given the lower layers' states, or None if `first` is 0."""
        if self.input is not None:
            self.input.states = states_BLD
        last_BLD: Tensor = self.model(input_ids=tokens_BL, attention_mask=mask_BL).last_hidden_state
        if self.input is not None:
            self.input.states = None
        return last_BLD


class _PassThrough:
    """A replacement for the `forward` of a layer that returns its input states unchanged."""

    def __init__(self, is_tuple: bool) -> None:
        self.is_tuple = is_tuple

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        states_BLD = self.chosen(arguments[0] if arguments else options["hidden_states"])
        return (states_BLD,) if self.is_tuple else states_BLD

    def chosen(self, states_BLD: Tensor) -> Tensor:
        return states_BLD


class _Capture(_PassThrough):
    """Stores its input states."""

    states: Tensor | None = None

    def chosen(self, states_BLD: Tensor) -> Tensor:
        self.states = states_BLD
        return states_BLD


class _Input(_PassThrough):
    """Returns `states` instead of its input states."""

    states: Tensor | None = None

    def chosen(self, states_BLD: Tensor) -> Tensor:
        assert self.states is not None
        return self.states


def with_shared_weights(model: Any) -> Any:
    """Return a copy of a model's layers and configuration that shares the original's weights, frozen."""
    shared: dict[int, Any] = {id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in model.parameters()}
    shared |= {id(buffer): buffer for buffer in model.buffers()}
    copied = copy.deepcopy(model, shared)
    if hasattr(copied, "config"):
        copied.config.use_cache = False
    return copied


def layers_of(model: Any) -> nn.ModuleList:
    """Return the layers of a model of the transformers library, the lowest first."""
    count = getattr(model.config, "num_hidden_layers", None)
    matches = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not matches:
        raise _not_in_a_list(model)
    return matches[0]


@lru_cache(maxsize=4)
def check_apart(model: Any, first: int) -> None:
    """Raise `UserError` if the two parts of a model do not compute the same states as the complete model."""
    tokens_BL = torch.arange(1, 9).view(2, 4) % model.config.vocab_size
    mask_BL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        expected_BLD = model(input_ids=tokens_BL, attention_mask=mask_BL).last_hidden_state
        lower, upper = LowerLayers(model, first), UpperLayers(model, first)
        upper.model.eval()
        states_BLD = upper(tokens_BL, mask_BL, lower(tokens_BL, mask_BL))
    is_real_BL = mask_BL.bool()
    deviation = (expected_BLD - states_BLD)[is_real_BL].abs().max()
    if deviation > _ALIKE * expected_BLD[is_real_BL].abs().max():
        raise _not_in_a_list(model)


@lru_cache(maxsize=4)
def _returns_tuple(model: Any) -> bool:
    """Return whether the layers of a model return their states in a tuple."""
    kinds: list[bool] = []
    hook = layers_of(model)[0].register_forward_hook(lambda layer, inputs, states: kinds.append(isinstance(states, tuple)))
    try:
        with torch.no_grad():
            model(input_ids=torch.ones(1, 1, dtype=torch.long), attention_mask=torch.ones(1, 1, dtype=torch.long))
    finally:
        hook.remove()
    if not kinds:
        raise _not_in_a_list(model)
    return kinds[0]


@lru_cache(maxsize=4)
def content_of(model: Any, dense: nn.Module, tokenizer: Any) -> str:
    """Return a hash of a model's class, weights and vocabulary, which does not depend on where it was loaded from."""
    sink = hashlib.sha256(type(model).__name__.encode())
    for name, weight in [*sorted(model.state_dict().items()), *sorted(dense.state_dict().items())]:
        sink.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        sink.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for token, number in sorted(tokenizer.get_vocab().items()):
        sink.update(f"{number} {token}\n".encode())
    return sink.hexdigest()


def padded(texts: Sequence[Tensor], filler: int) -> tuple[Tensor, Tensor]:
    """Return the token ids of texts, padded on the right, and their mask, (B, L) each."""
    tokens_BL = nn.utils.rnn.pad_sequence([text.long() for text in texts], batch_first=True, padding_value=filler)
    lengths_B = torch.tensor([len(text) for text in texts])
    return tokens_BL, (torch.arange(tokens_BL.shape[1]) < lengths_B[:, None]).long()


def _not_in_a_list(model: Any) -> UserError:
    return UserError(
        f"language model of the kind {type(model).__name__}",
        expected="layers in one list, each passing its states to the next",
        found="another structure",
        remedy="Tune another model, or keep this one frozen: tuning='Frozen'.",
    )
