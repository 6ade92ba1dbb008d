"""One training step: from a batch to an update of the weights.

Shape letters: B rows, T tasks, D width of all features together.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import combinations

import torch
from torch import Tensor, nn

from polyrec.balancing.balancer import Balance
from polyrec.core.batch import Batch
from polyrec.data.prepared import Prepared
from polyrec.declaration.training import Training
from polyrec.model.model import Model
from polyrec.model.objective import Objective, counted
from polyrec.train.compiled import CompiledGradients
from polyrec.train.gradients import StepGradients
from polyrec.train.optimizers import build_optimizers, clip_gradients, step_size
from polyrec.train.ranks import Ranks
from polyrec.train.row_optimizer import RowOptimizer

PIECE = 4 * 2**20
"""Number of activations per piece of a batch that layers save for the backward pass: few enough for the processor's caches, and
for memory blocks that the allocator reuses instead of requesting them from the system at every step. A layer saves about as
many activations per row as it has biases."""

_FEWEST = 256
"""Minimum number of rows per piece."""


class Step:
    """A training step of a model, its objective, its balance and their optimisers.

    If the tasks' weights depend on their losses, the balance computes a total from the losses of the entire batch, which are
    leaves of the graph. The derivatives of the total with respect to the losses are the tasks' weights, and the weighted sum is
    differentiated once. This is backpropagation of the total in two parts; in between, losses are summed over processes.

    If the weights are fixed and no row's loss depends on other rows, a large batch passes through the model in pieces whose
    gradients are summed. The step is the same up to rounding and the dropout drawn. Set `fully_observed` if every label of
    every row is observed; masks are then not inspected.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        balance: Balance,
        training: Training,
        ranks: Ranks,
        fully_observed: bool = False,
    ) -> None:
        self.model, self.objective, self.balance = model, objective, balance
        self.training, self.ranks = training, ranks
        tables = model.tables_by_rows()
        for table in tables:
            table.sparse = training.updates_rows
        table_parameters = [parameter for table in tables for parameter in table.parameters()]
        self.parameters = list(model.parameters())
        self.optimizers = build_optimizers(
            self.parameters, table_parameters, list(balance.parameters()), training, model.rates()
        )
        self.rate_factor = 1.0
        self.negatives = max(task.uniform_negatives for task in objective.tasks)
        self.all_parameters = [*self.parameters, *balance.parameters()]
        table_ids = {id(table.weight) for table in model.tables()}
        self.dense_parameters = [parameter for parameter in self.parameters if id(parameter) not in table_ids]
        self.rows_per_piece = self._rows_per_piece()
        self.fully_observed, self.ones_T = fully_observed, torch.ones(len(objective.tasks))
        self.compiled = CompiledGradients(model, objective, fully_observed) if training.compile else None
        self.positions = {task.name: position for position, task in enumerate(objective.tasks)}
        weights = balance.known_weights()
        self.weights_T = None if weights is None else torch.tensor([weights[task.name] for task in objective.tasks])
        is_lower = training.precision == "bfloat16"
        self.precision = partial(torch.autocast, "cpu", torch.bfloat16) if is_lower else nullcontext
        self.random = torch.get_rng_state()
        """State of torch's generator at the latest checkpoint within an epoch."""
        self.begin()

    def begin(self) -> None:
        """Reset the sums of losses and the probed gradients."""
        self.sums_2T = torch.zeros(2, len(self.objective.tasks), dtype=torch.float64)
        self.sum_T, self.count_T = self.sums_2T.unbind()
        self.gradients: dict[str, list[float]] = {}

    def __call__(self, data: Prepared, rows_B: Tensor, number: int, steps: int, probe: bool) -> None:
        """Take step `number` of `steps` on a batch; skip batches without any label or with fewer rows than ranks."""
        if len(rows_B) < self.ranks.count:
            return
        self._set_rate(number, steps)
        for parameter in self.all_parameters:
            parameter.grad = None
        rows_B = self.ranks.share(rows_B)
        if self.weights_T is None or probe or self.negatives:
            self._balanced(self._gather(data, rows_B), number, probe)
        elif self._weighted(data.batch(rows_B).split(self.rows_per_piece), self.weights_T):
            self._update()

    @property
    def size(self) -> int:
        """Approximate multiplications of a step's forward pass: rows times weights outside embedding tables."""
        return self.training.batch_size * sum(parameter.numel() for parameter in self.dense_parameters)

    def _rows_per_piece(self) -> int:
        """Return how many rows pass through the model at a time."""
        relates_rows = any(task.relates_rows for task in self.objective.tasks)
        normalises = any(isinstance(module, nn.modules.batchnorm._NormBase) for module in self.model.modules())
        if relates_rows or normalises:
            return sys.maxsize
        biases = [parameter for parameter in self.dense_parameters if parameter.dim() == 1 or parameter.shape[-2] == 1]
        return max(PIECE // max(sum(bias.numel() for bias in biases), 1), _FEWEST)

    def _set_rate(self, number: int, steps: int) -> None:
        factor = step_size(number, steps, self.training.schedule, self.training.warmup)
        if factor == self.rate_factor:
            return
        self.rate_factor = factor
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.get("highest", optimizer.defaults["lr"]) * factor

    def _weighted(self, pieces: Sequence[Batch], weights_T: Tensor) -> bool:
        """Sum the gradients of the weighted mean losses over pieces of a batch; return whether the batch has any label."""
        counts_T = self._counts(pieces)
        if not self.fully_observed and not counts_T.any():
            return False
        share_T = weights_T / counts_T.clamp(min=1)
        for piece in pieces:
            self.sum_T.add_(self.ranks.sum(self._differentiate(piece, share_T)))
        self.count_T.add_(counts_T)
        return True

    def _differentiate(self, batch: Batch, share_T: Tensor) -> Tensor:
        """Add the gradients of all losses, weighted by `share_T`, to the gradients of the weights; return loss sums (T,)."""
        if self.compiled is not None and batch.size == min(self.rows_per_piece, self.training.batch_size):
            return self.compiled(batch, share_T)
        x_BD = self._encode(batch)
        losses = self.objective.losses(self._raw(x_BD), batch.targets, batch.masks, self.fully_observed)
        rows = [loss_B for loss_B, _ in losses.values()]
        torch.autograd.backward(rows, [share.expand(batch.size) for share in share_T.unbind()])
        return torch.stack([loss_B.detach().sum() for loss_B in rows])

    def _counts(self, pieces: Sequence[Batch]) -> Tensor:
        """Return the number of rows with a loss of each task in a batch, over all ranks, (T,)."""
        if self.fully_observed and self.ranks.count == 1:
            return self.ones_T * sum(piece.size for piece in pieces)
        tasks = self.objective.tasks
        counts = [counted(task, piece.targets[task.name], piece.masks[task.name]).sum() for piece in pieces for task in tasks]
        return self.ranks.sum(torch.stack(counts).view(len(pieces), len(tasks)).sum(0).float())

    def _balanced(self, batch: Batch, number: int, probe: bool) -> None:
        """Take a step with task weights that the balance computes from the losses."""
        state_before = torch.get_rng_state() if self.balance.looks_back else None
        x_BD, losses, counts = self._losses(batch)
        if not losses:
            return
        gradients = StepGradients(losses, x_BD, self.model.network.last_shared(), self.ranks)
        if probe:
            self._probe(gradients, list(losses))
        values = self.ranks.sum(torch.stack([loss.detach() for loss in losses.values()]))
        for name, value, total in zip(losses, values.double(), counts, strict=True):
            self.sums_2T[:, self.positions[name]] += torch.stack([value * total, total])
        leaves = {name: value.clone().requires_grad_() for name, value in zip(losses, values, strict=True)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed * 1_000_003 + number)
            self.balance(leaves, gradients).backward()
        weighted = [leaf.grad * losses[name] for name, leaf in leaves.items() if leaf.grad is not None]
        torch.stack(weighted).sum().backward()
        self._update()
        if state_before is not None:
            self._look_back(batch, state_before)

    def _update(self) -> None:
        self.ranks.add_up_gradients(self.parameters)
        if self.training.gradient_clip is not None:
            clip_gradients(self.parameters, self.training.gradient_clip)
        for optimizer in self.optimizers:
            optimizer.step()

    def catch_up(self) -> None:
        """Apply pending updates to embedding rows that recent batches did not touch."""
        for optimizer in self.optimizers:
            if isinstance(optimizer, RowOptimizer):
                optimizer.catch_up()

    def mean_losses(self) -> dict[str, float]:
        """Return each task's mean loss over its rows since `begin`; a task without rows is absent."""
        totals = zip(self.objective.tasks, *self.sums_2T.tolist(), strict=True)
        return {task.name: total / count for task, total, count in totals if count > 0}

    def probed(self) -> dict[str, float]:
        """Return the mean cosines and norms of the tasks' gradients over the probed steps since `begin`."""
        return {name: sum(values) / len(values) for name, values in self.gradients.items()}

    def _gather(self, data: Prepared, rows_B: Tensor) -> Batch:
        if self.negatives == 0:
            return data.batch(rows_B)
        return data.batch(rows_B, torch.randint(len(data.items.rows_I), (self.negatives,)))

    def _encode(self, batch: Batch) -> Tensor:
        with self.precision():
            return self.model.encode(batch)

    def _raw(self, x_BD: Tensor) -> dict[str, Tensor]:
        with self.precision():
            return {name: value.float() for name, value in self.model.decode(x_BD).items()}

    def _losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the concatenated features, the mean loss of each task with labels, and its number of rows in the batch.

        Means are over the rows of all ranks; the losses are this rank's part of them.
        """
        x_BD = self._encode(batch)
        raw = self._raw(x_BD)
        rows = self.objective.losses(raw, batch.targets, batch.masks)
        counts = self.ranks.sum(torch.tensor([float(counts_B.sum()) for _, counts_B in rows.values()]))
        present = [
            (name, loss_B.sum() / total) for (name, (loss_B, _)), total in zip(rows.items(), counts, strict=True) if total > 0
        ]
        return x_BD, dict(present), counts[counts > 0]

    def _probe(self, gradients: StepGradients, tasks: list[str]) -> None:
        gramian_TT = gradients.gramian(tasks)
        norm_T = gramian_TT.diagonal().sqrt()
        values = {f"{task}.gradient_norm": float(norm) for task, norm in zip(tasks, norm_T, strict=True)}
        for (a, first), (b, second) in combinations(enumerate(tasks), 2):
            product = float(norm_T[a] * norm_T[b])
            if product > 0:
                values[f"{first}|{second}.cosine"] = float(gramian_TT[a, b]) / product
        for name, value in values.items():
            self.gradients.setdefault(name, []).append(value)

    def _look_back(self, batch: Batch, state_before: Tensor) -> None:
        """Pass the losses after the step, with the same dropout as before it, to the balance."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state_before)
            _, losses, _ = self._losses(batch)
        values: Mapping[str, Tensor] = {name: self.ranks.sum(loss) for name, loss in losses.items()}
        self.balance.look_back(values)
