"""Losses and their gradients as one compiled function.

Shape letters: B rows, D width of all features together, N rows read from a table, R rows of the table, W its width, T tasks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from polyrec.core.batch import Batch
from polyrec.core.errors import UserError
from polyrec.model.model import Model
from polyrec.model.objective import Objective


class CompiledGradients:
    """The gradients of a weighted sum of losses, compiled by TorchInductor.

    Forward and backward pass are traced once, with the shapes of the first batch, to one graph of operations. A step of a small
    model is then one call into compiled code instead of about fifty autograd nodes. Unlike `torch.compile`, later calls have no
    guards: the function accepts only batches of the traced size.

    If every feature has one value per row and all tables are updated by rows, the graph starts at the batch. It gathers the
    rows of tables and returns their gradients (N, W) together with their indices, the two parts of a sparse gradient.
    Otherwise the encoders run outside the graph, and their backward pass continues from the gradient of the features.
    """

    def __init__(self, model: Model, objective: Objective, fully_observed: bool) -> None:
        refuse_no_compiler()
        self.forward, self.objective, self.fully_observed = _Forward(model), objective, fully_observed
        self.tasks = [task.name for task in objective.tasks]
        self.tables = model.tables_by_rows()
        self.function: Callable[..., Sequence[Tensor]] | None = None

    def __call__(self, batch: Batch, share_T: Tensor) -> Tensor:
        """Add the gradients of all losses, weighted by `share_T`, to the gradients of the weights; return loss sums (T,)."""
        if self.function is None:
            self._choose(batch)
        x_BD = None if self.gathers else self.forward.model.encode(batch)
        with torch.no_grad():
            inputs = self._inputs(batch, x_BD, share_T)
            if self.function is None:
                self.function = self._compile(inputs, list(batch.inputs))
            sums_T, *gradients = self.function(*inputs)
            self._accumulate(gradients)
        if x_BD is not None:
            x_BD.backward(gradients[-1])
        return sums_T

    def _choose(self, batch: Batch) -> None:
        """Decide whether the graph starts at the batch or at the features, and which weights are its inputs."""
        are_sparse = all(isinstance(table, nn.Embedding) and table.sparse for table in self.tables)
        are_single = all(isinstance(value, Tensor) for value in batch.inputs.values())
        self.gathers = are_sparse and are_single and len(self.tables) == len(self.forward.model.tables())
        outside = {id(table.weight) for table in self.tables}
        self.weights = {
            name: weight
            for name, weight in self.forward.named_parameters()
            if (id(weight) not in outside if self.gathers else not name.startswith("model.copies."))
        }

    def _inputs(self, batch: Batch, x_BD: Tensor | None, share_T: Tensor) -> list[Tensor]:
        """Return the inputs of the function: features, `share_T`, targets, masks, weights and, if it gathers rows, tables."""
        features = [value for value in batch.inputs.values() if isinstance(value, Tensor)] if x_BD is None else [x_BD.detach()]
        labels = [tensors[name] for tensors in (batch.targets, batch.masks) for name in self.tasks]
        weights = [weight.detach() for weight in self.weights.values()]
        return [*features, share_T, *labels, *weights, *(table.weight.detach() for table in self.tables if self.gathers)]

    def _accumulate(self, gradients: Sequence[Tensor]) -> None:
        """Add the gradients that the function returned to those of weights and tables."""
        for weight, gradient in zip(self.weights.values(), gradients, strict=False):
            if gradient.stride() != weight.stride():  # fused optimisers read both in memory order
                gradient = torch.empty_like(weight).copy_(gradient)
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        if self.gathers:
            rows = iter(gradients[len(self.weights) :])
            for table, number_1N, gradient_NW in zip(self.tables, rows, rows, strict=True):
                sparse = torch.sparse_coo_tensor(number_1N, gradient_NW, table.weight.shape, check_invariants=False)
                table.weight.grad = sparse if table.weight.grad is None else table.weight.grad + sparse

    def _compile(self, inputs: list[Tensor], features: Sequence[str]) -> Callable[..., Sequence[Tensor]]:
        import torch._inductor  # takes a second, which only compiled trainings should wait for

        def gradients(*inputs: Tensor) -> tuple[Tensor, ...]:
            return self._gradients(features, iter(inputs))

        graph = make_fx(gradients, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
        function: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, list[Any](inputs))
        return function

    def _gradients(self, features: Sequence[str], inputs: Iterator[Tensor]) -> tuple[Tensor, ...]:
        """Return the loss sums, the gradients of all weights, and those of the features or of the rows of tables."""
        values = {name: next(inputs) for name in features} if self.gathers else {"": next(inputs)}
        share_T = next(inputs)
        targets, masks = ({name: next(inputs) for name in self.tasks} for _ in range(2))
        with torch.enable_grad():
            weights = {name: next(inputs).detach().requires_grad_() for name in self.weights}
            reads = [_Reads(table_RW) for table_RW in inputs]
            leaves: list[Tensor] = []
            if self.gathers:
                start: Batch | Tensor = Batch(dict(values), targets, masks, len(values[features[0]]))
            else:
                start = values[""].detach().requires_grad_()
                leaves.append(start)
            with _replaced_forward(self.tables, reads):
                raw = functional_call(self.forward, weights, (start,))
            losses = self.objective.losses(raw, targets, masks, self.fully_observed)
            sums_T = torch.stack([loss_B.sum() for loss_B, _ in losses.values()])
            leaves += [row_NW for table_reads in reads for row_NW in table_reads.rows]
            total, sources = (sums_T * share_T).sum(), [*weights.values(), *leaves]
            gradients = iter(torch.autograd.grad(total, sources, allow_unused=True, materialize_grads=True))
        of_weights = [next(gradients) for _ in weights]
        if not self.gathers:
            return sums_T.detach(), *of_weights, next(gradients)
        return sums_T.detach(), *of_weights, *(part for table_reads in reads for part in table_reads.gradient(gradients))


class _Forward(nn.Module):
    """A model whose forward pass starts from a batch or from its concatenated features."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, start: Batch | Tensor) -> Any:
        return self.model(start) if isinstance(start, Batch) else self.model.decode(start)


class _Reads:
    """The lookups of a forward pass in a table: row indices, and the rows as separate leaves of the graph."""

    def __init__(self, table_RW: Tensor) -> None:
        self.table_RW = table_RW
        self.numbers: list[Tensor] = []
        self.rows: list[Tensor] = []

    def __call__(self, number: Tensor) -> Tensor:
        """Return rows like `nn.Embedding`."""
        number_N = number.reshape(-1).long()
        row_NW = self.table_RW.index_select(0, number_N).detach().requires_grad_()
        self.numbers.append(number_N)
        self.rows.append(row_NW)
        return row_NW.view(*number.shape, -1)

    def gradient(self, gradients: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the indices (1, N) of the rows read and their gradients (N, W), the next ones of the iterator."""
        parts = [next(gradients) for _ in self.rows]
        return torch.cat(self.numbers).unsqueeze(0), torch.cat(parts)


@contextmanager
def _replaced_forward(tables: Sequence[nn.Module], reads: Sequence[_Reads]) -> Iterator[None]:
    """Replace the tables' forward pass by recorded lookups inside the context."""
    with ExitStack() as stack:
        for table, table_reads in zip(tables, reads, strict=False):
            table.forward = table_reads
            stack.callback(delattr, table, "forward")
        yield


def refuse_no_compiler() -> None:
    """Raise `UserError` if torch finds no C++ compiler on this machine."""
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        found = "none of " + ", ".join(dict.fromkeys(compilers))
        remedy = "Install one, name it in the environment variable CXX, or set `compile` to false."
        raise UserError("`compile`", expected="a C++ compiler", found=found, remedy=remedy)
