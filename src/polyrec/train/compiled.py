"""Losses and their gradients as one compiled function.

Shape letters: B rows, D width of all features together, T tasks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch._inductor
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.fx.experimental.proxy_tensor import make_fx

from polyrec.core.errors import UserError
from polyrec.model import Model
from polyrec.objective import Objective


class CompiledGradients:
    """The gradients of a weighted sum of losses in what stands above the features, compiled by TorchInductor.

    Forward and backward pass are traced once, with the first batch's shapes, to one graph of operations, so that a step of
    a small model is one call into compiled code instead of a walk of autograd's over some twenty nodes. Nothing is looked up
    or guarded at later calls, as `torch.compile` would: the function serves batches of that size alone. Encoders stay
    outside: their own backward pass, of few and large steps, goes on from the gradient in the features.
    """

    def __init__(self, model: Model, objective: Objective, whole: bool) -> None:
        refuse_no_compiler()
        self.decoder, self.objective, self.whole = _Decoder(model), objective, whole
        above = [(name, own) for name, own in self.decoder.named_parameters() if not name.startswith("model.copies.")]
        self.names, self.weights = [name for name, _ in above], [weight for _, weight in above]
        self.tasks = [task.name for task in objective.tasks]
        self.function: Callable[..., Sequence[Tensor]] | None = None

    def __call__(self, x_BD: Tensor, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor], share_T: Tensor) -> Tensor:
        """Add the gradients of the sum of losses, each times its share, to the weights'; return the losses' sums, (T,)."""
        with torch.no_grad():
            inputs = [x_BD.detach(), share_T, *(own[name] for own in (targets, masks) for name in self.tasks)]
            inputs += [weight.detach() for weight in self.weights]
            if self.function is None:
                self.function = self._compile(inputs)
            sums_T, x_gradient_BD, *above = self.function(*inputs)
            for weight, gradient in zip(self.weights, above, strict=True):
                if gradient.stride() != weight.stride():  # fused optimisers read both in the order of memory
                    gradient = torch.empty_like(weight).copy_(gradient)
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        x_BD.backward(x_gradient_BD)
        return sums_T

    def _compile(self, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
        graph = make_fx(self._gradients, tracing_mode="fake")(*inputs)
        function: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, list[Any](inputs))
        return function

    def _gradients(self, x_BD: Tensor, share_T: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Return the sums of the losses and the gradients in the features and in every weight."""
        count = len(self.tasks)
        targets, masks = (dict(zip(self.tasks, rest[at : at + count], strict=True)) for at in (0, count))

        def weighted(x_BD: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            raw = functional_call(self.decoder, dict(zip(self.names, weights, strict=True)), (x_BD,))
            losses = self.objective.losses(raw, targets, masks, self.whole)
            sums_T = torch.stack([loss_B.sum() for loss_B, _ in losses.values()])
            return (sums_T * share_T).sum(), sums_T

        (x_gradient_BD, above), sums_T = grad(weighted, argnums=(0, 1), has_aux=True)(x_BD, rest[2 * count :])
        return sums_T, x_gradient_BD, *above


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
