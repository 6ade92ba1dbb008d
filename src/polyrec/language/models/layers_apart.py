"""A transformer in two: what its lower layers make of tokens, and the upper ones of that.

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
"""Largest deviation of the two parts from the whole, relative to the states' size, that is rounding."""


class LowerLayers:
    """The first `count` layers of a transformer, frozen and without dropout; it shares its weights with the model."""

    def __init__(self, model: Any, count: int) -> None:
        self.model = with_shared_weights(model).eval()
        layers = layers_of(self.model)
        self.reached = _Reached(_returns_tuple(model))
        layers[count].forward = self.reached
        for layer in layers[count + 1 :]:
            layer.forward = _Passed(self.reached.is_tuple)

    def __call__(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the states (B, L, D) that layer `count` would be given."""
        self.model(input_ids=tokens_BL, attention_mask=mask_BL)
        states_BLD = self.reached.states
        assert states_BLD is not None
        self.reached.states = None
        return states_BLD


class UpperLayers:
    """The layers of a transformer from number `first` on, and what comes after them, fed with the states of those below.

    The weights are the model's own, frozen, until `model` is changed: it is a model apart, of which `layers` are these layers.
    Works for any architecture of transformers whose layers lie in one list and hand states on as their first argument;
    another one is refused, for both parts are compared with the whole once.
    """

    def __init__(self, model: Any, first: int) -> None:
        self.model = with_shared_weights(model)
        every = layers_of(self.model)
        self.layers = list(every[first:])
        self.given: _Given | None = None
        if first:
            is_tuple = _returns_tuple(model)
            self.given = _Given(is_tuple)
            for layer in every[: first - 1]:
                layer.forward = _Passed(is_tuple)
            every[first - 1].forward = self.given

    def __call__(self, tokens_BL: Tensor, mask_BL: Tensor, states_BLD: Tensor | None) -> Tensor:
        """Return the model's last hidden states (B, L, D); `states_BLD` stand for those below, None where there is none."""
        if self.given is not None:
            self.given.states = states_BLD
        last_BLD: Tensor = self.model(input_ids=tokens_BL, attention_mask=mask_BL).last_hidden_state
        if self.given is not None:
            self.given.states = None
        return last_BLD


class _Passed:
    """Stands for the `forward` of a layer: returns the states that it is given."""

    def __init__(self, is_tuple: bool) -> None:
        self.is_tuple = is_tuple

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        states_BLD = self.chosen(arguments[0] if arguments else options["hidden_states"])
        return (states_BLD,) if self.is_tuple else states_BLD

    def chosen(self, states_BLD: Tensor) -> Tensor:
        return states_BLD


class _Reached(_Passed):
    """Keeps the states that it is given."""

    states: Tensor | None = None

    def chosen(self, states_BLD: Tensor) -> Tensor:
        self.states = states_BLD
        return states_BLD


class _Given(_Passed):
    """Returns other states than those that it is given."""

    states: Tensor | None = None

    def chosen(self, states_BLD: Tensor) -> Tensor:
        assert self.states is not None
        return self.states


def with_shared_weights(model: Any) -> Any:
    """Return a model with layers and configuration of its own, and with the weights of another, frozen and not copied."""
    shared: dict[int, Any] = {id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in model.parameters()}
    shared |= {id(buffer): buffer for buffer in model.buffers()}
    other = copy.deepcopy(model, shared)
    if hasattr(other, "config"):
        other.config.use_cache = False
    return other


def layers_of(model: Any) -> nn.ModuleList:
    """Return the layers of a transformer of the transformers library, the lowest first."""
    count = getattr(model.config, "num_hidden_layers", None)
    found = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not found:
        raise _not_in_a_list(model)
    return found[0]


@lru_cache(maxsize=4)
def check_apart(model: Any, first: int) -> None:
    """Raise `UserError` where the two parts of a model do not compute what the whole does."""
    tokens_BL = torch.arange(1, 9).view(2, 4) % model.config.vocab_size
    mask_BL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        whole = model(input_ids=tokens_BL, attention_mask=mask_BL).last_hidden_state
        lower, upper = LowerLayers(model, first), UpperLayers(model, first)
        upper.model.eval()
        apart = upper(tokens_BL, mask_BL, lower(tokens_BL, mask_BL))
    real = mask_BL.bool()
    if (whole - apart)[real].abs().max() > _ALIKE * whole[real].abs().max():
        raise _not_in_a_list(model)


@lru_cache(maxsize=4)
def _returns_tuple(model: Any) -> bool:
    """Return whether the layers of a model return their states in a tuple."""
    kinds: list[bool] = []
    hook = layers_of(model)[0].register_forward_hook(lambda layer, given, states: kinds.append(isinstance(states, tuple)))
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
    """Return a hash of kind, weights and vocabulary: of what a model computes, wherever it was loaded from."""
    sink = hashlib.sha256(type(model).__name__.encode())
    for name, weight in [*sorted(model.state_dict().items()), *sorted(dense.state_dict().items())]:
        sink.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        sink.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for token, number in sorted(tokenizer.get_vocab().items()):
        sink.update(f"{number} {token}\n".encode())
    return sink.hexdigest()


def padded(texts: Sequence[Tensor], filler: int) -> tuple[Tensor, Tensor]:
    """Return token numbers of texts, filled up on the right, and where they are real, (B, L) each."""
    tokens_BL = nn.utils.rnn.pad_sequence([text.long() for text in texts], batch_first=True, padding_value=filler)
    lengths_B = torch.tensor([len(text) for text in texts])
    return tokens_BL, (torch.arange(tokens_BL.shape[1]) < lengths_B[:, None]).long()


def _not_in_a_list(model: Any) -> UserError:
    return UserError(
        f"language model of the kind {type(model).__name__}",
        expected="layers in one list, each of which hands its states to the next",
        found="another structure",
        remedy="Tune another model, or use this one frozen: tuning='Frozen'.",
    )
