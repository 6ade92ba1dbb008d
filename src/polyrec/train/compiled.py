"""Losses and their gradients as one compiled function.

Shape letters: B rows, D width of all features together, N rows read of a table, W its width, T tasks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._inductor
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from polyrec.core.batch import Batch
from polyrec.core.errors import UserError
from polyrec.model.model import Model
from polyrec.model.objective import Objective


class CompiledGradients:
    """The gradients of a weighted sum of losses, compiled by TorchInductor.

    Forward and backward pass are traced once, with the first batch's shapes, to one graph of operations, so that a step of
    a small model is one call into compiled code instead of a walk of autograd's over some fifty nodes. Nothing is looked up
    or guarded at later calls, as `torch.compile` would: the function serves batches of that size alone.

    Where every feature has one value a row and all tables are updated by rows, the graph begins at the batch: it gathers the
    rows of tables itself and returns their gradients (N, W) beside their numbers, which is all that a sparse gradient holds.
    Otherwise encoders stay outside, and their own backward pass goes on from the gradient in the features.
    """

    def __init__(self, model: Model, objective: Objective, whole: bool) -> None:
        refuse_no_compiler()
        self.forward, self.objective, self.whole = _Forward(model), objective, whole
        self.tasks = [task.name for task in objective.tasks]
        self.tables = model.tables_by_rows()
        self.function: Callable[..., Sequence[Tensor]] | None = None

    def __call__(self, batch: Batch, share_T: Tensor) -> Tensor:
        """Add the gradients of the sum of losses, each times its share, to the weights'; return the losses' sums, (T,)."""
        if self.function is None:
            self._choose(batch)
        x_BD = None if self.gathers else self.forward.model.encode(batch)
        with torch.no_grad():
            inputs = self._inputs(batch, x_BD, share_T)
            if self.function is None:
                self.function = self._compile(inputs, list(batch.inputs))
            sums_T, *found = self.function(*inputs)
            self._hand_over(found)
        if x_BD is not None:
            x_BD.backward(found[-1])
        return sums_T

    def _choose(self, batch: Batch) -> None:
        """Decide where the graph begins, and with it which weights it knows."""
        plain = all(isinstance(table, nn.Embedding) and table.sparse for table in self.tables)
        single = all(isinstance(own, Tensor) for own in batch.inputs.values())
        self.gathers = plain and single and len(self.tables) == len(self.forward.model.tables())
        outside = {id(table.weight) for table in self.tables}
        self.weights = {
            name: own
            for name, own in self.forward.named_parameters()
            if (id(own) not in outside if self.gathers else not name.startswith("model.copies."))
        }

    def _inputs(self, batch: Batch, x_BD: Tensor | None, share_T: Tensor) -> list[Tensor]:
        """Return what the function is called with: features, share, targets, masks, weights and, where it gathers, tables."""
        features = [own for own in batch.inputs.values() if isinstance(own, Tensor)] if x_BD is None else [x_BD.detach()]
        labels = [own[name] for own in (batch.targets, batch.masks) for name in self.tasks]
        weights = [own.detach() for own in self.weights.values()]
        return [*features, share_T, *labels, *weights, *(table.weight.detach() for table in self.tables if self.gathers)]

    def _hand_over(self, found: Sequence[Tensor]) -> None:
        """Add what the function returned to the gradients of weights and tables."""
        for weight, gradient in zip(self.weights.values(), found, strict=False):
            if gradient.stride() != weight.stride():  # fused optimisers read both in the order of memory
                gradient = torch.empty_like(weight).copy_(gradient)
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        if self.gathers:
            rows = iter(found[len(self.weights) :])
            for table, number_1N, gradient_NW in zip(self.tables, rows, rows, strict=True):
                sparse = torch.sparse_coo_tensor(number_1N, gradient_NW, table.weight.shape, check_invariants=False)
                table.weight.grad = sparse if table.weight.grad is None else table.weight.grad + sparse

    def _compile(self, inputs: list[Tensor], features: Sequence[str]) -> Callable[..., Sequence[Tensor]]:
        def gradients(*inputs: Tensor) -> tuple[Tensor, ...]:
            return self._gradients(features, iter(inputs))

        graph = make_fx(gradients, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
        function: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, list[Any](inputs))
        return function

    def _gradients(self, features: Sequence[str], given: Iterator[Tensor]) -> tuple[Tensor, ...]:
        """Return the sums of the losses, the gradients in all weights, and those in the features or the rows of tables."""
        read = {name: next(given) for name in features} if self.gathers else {"": next(given)}
        share_T = next(given)
        targets, masks = ({name: next(given) for name in self.tasks} for _ in range(2))
        with torch.enable_grad():
            weights = {name: next(given).detach().requires_grad_() for name in self.weights}
            reads = [_Reads(own) for own in given]
            leaves: list[Tensor] = []
            if self.gathers:
                start: Batch | Tensor = Batch(dict(read), targets, masks, len(read[features[0]]))
            else:
                start = read[""].detach().requires_grad_()
                leaves.append(start)
            with _standing_in(self.tables, reads):
                raw = functional_call(self.forward, weights, (start,))
            losses = self.objective.losses(raw, targets, masks, self.whole)
            sums_T = torch.stack([loss_B.sum() for loss_B, _ in losses.values()])
            leaves += [row_NW for own in reads for row_NW in own.rows]
            wanted = [*weights.values(), *leaves]
            found = iter(torch.autograd.grad((sums_T * share_T).sum(), wanted, allow_unused=True, materialize_grads=True))
        above = [next(found) for _ in weights]
        if not self.gathers:
            return sums_T.detach(), *above, next(found)
        return sums_T.detach(), *above, *(part for own in reads for part in own.gradient(found))


class _Forward(nn.Module):
    """A model whose forward pass starts from a batch or from its features side by side."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, start: Batch | Tensor) -> Any:
        return self.model(start) if isinstance(start, Batch) else self.model.decode(start)


class _Reads:
    """What a forward pass reads of a table: the numbers of rows, and the rows as leaves of their own."""

    def __init__(self, table_RW: Tensor) -> None:
        self.table_RW = table_RW
        self.numbers: list[Tensor] = []
        self.rows: list[Tensor] = []

    def __call__(self, number: Tensor) -> Tensor:
        """Return rows as `nn.Embedding` would."""
        number_N = number.reshape(-1).long()
        row_NW = self.table_RW.index_select(0, number_N).detach().requires_grad_()
        self.numbers.append(number_N)
        self.rows.append(row_NW)
        return row_NW.view(*number.shape, -1)

    def gradient(self, found: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the numbers (1, N) of the rows read and, from the gradients in turn, theirs (N, W)."""
        gradients = [next(found) for _ in self.rows]
        return torch.cat(self.numbers).unsqueeze(0), torch.cat(gradients)


@contextmanager
def _standing_in(tables: Sequence[nn.Module], reads: Sequence[_Reads]) -> Iterator[None]:
    """Let something else answer for tables while a forward pass is traced."""
    with ExitStack() as stack:
        for table, own in zip(tables, reads, strict=False):
            table.forward = own
            stack.callback(delattr, table, "forward")
        yield


def refuse_no_compiler() -> None:
    """Raise `UserError` where the machine has no C++ compiler that torch would find."""
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        found, remedy = "none of " + ", ".join(dict.fromkeys(compilers)), "Install one, name it in CXX, or leave it off."
        raise UserError("`compile`", expected="a C++ compiler", found=found, remedy=remedy)
