"""Losses and their gradients as one compiled function.

Shape letters: B rows, D width of all features together, T tasks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from polyrec.core.errors import UserError
from polyrec.model import Model
from polyrec.objective import Objective


class CompiledGradients:
    """The gradients of a weighted sum of losses in what stands above the features, compiled by `torch.compile`.

    Forward and backward pass are one function without a graph of autograd's, so that a step of a small model is a few calls
    into compiled code instead of some hundred from Python. It is compiled for one number of rows, at its first call. Encoders
    stay outside: their own backward pass, of few and large steps, goes on from the gradient in the features.
    """

    def __init__(self, model: Model, objective: Objective, whole: bool) -> None:
        refuse_no_compiler()
        decoder = _Decoder(model)
        above = [(name, weight) for name, weight in decoder.named_parameters() if not name.startswith("model.copies.")]
        self.names, self.weights = [name for name, _ in above], [weight for _, weight in above]
        names = self.names

        def weighted(
            weights: list[Tensor], x_BD: Tensor, targets: dict[str, Tensor], masks: dict[str, Tensor], share_T: Tensor
        ) -> tuple[Tensor, Tensor]:
            raw = functional_call(decoder, dict(zip(names, weights, strict=True)), (x_BD,))
            losses = objective.losses(raw, targets, masks, whole)
            sums_T = torch.stack([loss_B.sum() for loss_B, _ in losses.values()])
            return (sums_T * share_T).sum(), sums_T

        self.function = torch.compile(grad(weighted, argnums=(0, 1), has_aux=True), fullgraph=True, dynamic=False)

    def __call__(self, x_BD: Tensor, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor], share_T: Tensor) -> Tensor:
        """Add the gradients of the sum of losses, each times its share, to the weights'; return the losses' sums, (T,)."""
        with torch.no_grad():
            weights = [weight.detach() for weight in self.weights]
            (above, x_gradient_BD), sums_T = self.function(weights, x_BD.detach(), dict(targets), dict(masks), share_T)
            for weight, gradient in zip(self.weights, above, strict=True):
                if gradient.stride() != weight.stride():  # fused optimisers read both in the order of memory
                    gradient = torch.empty_like(weight).copy_(gradient)
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        x_BD.backward(x_gradient_BD)
        return sums_T


class _Decoder(nn.Module):
    """A model whose forward pass starts from the features."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BD: Tensor) -> Any:
        return self.model.decode(x_BD)


def refuse_no_compiler() -> None:
    """Raise `UserError` where the machine has no C++ compiler that torch would find."""
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        found, remedy = "none of " + ", ".join(dict.fromkeys(compilers)), "Install one, name it in CXX, or leave it off."
        raise UserError("`compile`", expected="a C++ compiler", found=found, remedy=remedy)
