"""One step of training: from a batch to an update of the weights.

Shape letters: B rows, M items drawn, T tasks, D width of all features together.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from polyrec.balancing.balancer import Balance
from polyrec.core.batch import Batch
from polyrec.data.prepared import Prepared
from polyrec.declaration.training import Training
from polyrec.model.model import Model
from polyrec.model.objective import Objective, counted
from polyrec.train.gradients import StepGradients
from polyrec.train.optimizers import build_optimizers, clip_gradients, step_size
from polyrec.train.ranks import Ranks
from polyrec.train.row_optimizer import RowOptimizer

if TYPE_CHECKING:
    from polyrec.train.compiled import CompiledGradients

PIECE = 4 * 2**20
"""Numbers that the layers of a model leave for the backward pass at a time: few enough for the processor's caches, and for
blocks of memory that the allocator hands out again instead of fetching them from the system at every step. A layer leaves about
as many a row as it has biases."""

_FEWEST = 256
"""Rows that are never cut into pieces."""


class Step:
    """Model, objective, balance and optimisers together.

    Where the tasks' weights depend on their losses, the balance sees the losses of the whole batch as leaves; the derivatives
    of its total by them are the tasks' weights, and the weighted sum is differentiated once. This is ordinary backpropagation
    of the total, in two pieces, so that losses can be added up over processes in between.

    Where the weights are known beforehand and no row's loss depends on other rows, a batch of many rows goes through
    the model in pieces whose gradients are added up: the same step, up to rounding and to the dropout drawn. `whole` says that
    every label of every row counts, which saves looking at every step.
    """

    def __init__(
        self, model: Model, objective: Objective, balance: Balance, training: Training, ranks: Ranks, whole: bool = False
    ) -> None:
        self.model, self.objective, self.balance = model, objective, balance
        self.training, self.ranks = training, ranks
        tables = model.tables_by_rows()
        for table in tables:
            table.sparse = training.updates_rows
        rows = [parameter for table in tables for parameter in table.parameters()]
        self.parameters = list(model.parameters())
        self.optimizers = build_optimizers(self.parameters, rows, list(balance.parameters()), training, model.rates())
        self.share = 1.0
        self.negatives = max(task.uniform_negatives for task in objective.tasks)
        self.free = [*self.parameters, *balance.parameters()]
        every_table = {id(table.weight) for table in model.tables()}
        self.above = [own for own in self.parameters if id(own) not in every_table]
        self.piece = self._piece()
        self.whole, self.ones_T = whole, torch.ones(len(objective.tasks))
        self.compiled: CompiledGradients | None = None
        if training.compile:
            from polyrec.train.compiled import CompiledGradients

            self.compiled = CompiledGradients(model, objective, whole)
        self.places = {task.name: place for place, task in enumerate(objective.tasks)}
        known = balance.known_weights()
        self.weights_T = None if known is None else torch.tensor([known[task.name] for task in objective.tasks])
        lower = training.precision == "bfloat16"
        self.precision = partial(torch.autocast, "cpu", torch.bfloat16) if lower else nullcontext
        self.random = torch.get_rng_state()
        """Where torch's generator stood when a checkpoint was last written within an epoch."""
        self.begin()

    def begin(self) -> None:
        """Forget the losses and gradients seen."""
        self.sums_2T = torch.zeros(2, len(self.objective.tasks), dtype=torch.float64)
        self.sum_T, self.count_T = self.sums_2T.unbind()
        self.gradients: dict[str, list[float]] = {}

    def __call__(self, data: Prepared, rows_B: Tensor, number: int, steps: int, probe: bool) -> None:
        """Take step `number` of `steps` on some rows; a batch without any label, or with too few rows to share, is skipped."""
        if len(rows_B) < self.ranks.count:
            return
        self._set_rate(number, steps)
        for parameter in self.free:
            parameter.grad = None
        rows_B = self.ranks.share(rows_B)
        if self.weights_T is None or probe or self.negatives:
            self._balanced(self._gather(data, rows_B), number, probe)
        elif self._weighted(data.batch(rows_B).split(self.piece), self.weights_T):
            self._update()

    @property
    def size(self) -> int:
        """Multiplications of a step's forward pass, about: rows times weights outside tables."""
        return self.training.batch_size * sum(own.numel() for own in self.above)

    def _piece(self) -> int:
        """Return how many rows go through the model at a time."""
        relates_rows = any(task.relates_rows for task in self.objective.tasks)
        normalises = any(isinstance(module, nn.modules.batchnorm._NormBase) for module in self.model.modules())
        if relates_rows or normalises:
            return sys.maxsize
        biases = [own for own in self.above if own.dim() == 1 or own.shape[-2] == 1]
        return max(PIECE // max(sum(own.numel() for own in biases), 1), _FEWEST)

    def _set_rate(self, number: int, steps: int) -> None:
        share = step_size(number, steps, self.training.schedule, self.training.warmup)
        if share == self.share:
            return
        self.share = share
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.get("highest", optimizer.defaults["lr"]) * share

    def _weighted(self, pieces: Sequence[Batch], weights_T: Tensor) -> bool:
        """Add up the gradients of the weighted sum of mean losses over pieces of a batch; return whether it has any label."""
        counts_T = self._counts(pieces)
        if not self.whole and not counts_T.any():
            return False
        share_T = weights_T / counts_T.clamp(min=1)
        for piece in pieces:
            self.sum_T.add_(self.ranks.sum(self._differentiate(piece, share_T)))
        self.count_T.add_(counts_T)
        return True

    def _differentiate(self, batch: Batch, share_T: Tensor) -> Tensor:
        """Add the gradients of the sum of losses, each times its share; return the sums of the losses, (T,)."""
        if self.compiled is not None and batch.size == min(self.piece, self.training.batch_size):
            return self.compiled(batch, share_T)
        x_BD = self._encode(batch)
        losses = self.objective.losses(self._raw(x_BD), batch.targets, batch.masks, self.whole)
        rows = [loss_B for loss_B, _ in losses.values()]
        torch.autograd.backward(rows, [share.expand(batch.size) for share in share_T.unbind()])
        return torch.stack([loss_B.detach().sum() for loss_B in rows])

    def _counts(self, pieces: Sequence[Batch]) -> Tensor:
        """Return how many rows of a batch, over all ranks, each task's mean loss is over, (T,)."""
        if self.whole and self.ranks.count == 1:
            return self.ones_T * sum(piece.size for piece in pieces)
        tasks = self.objective.tasks
        counts = [counted(task, own.targets[task.name], own.masks[task.name]).sum() for own in pieces for task in tasks]
        return self.ranks.sum(torch.stack(counts).view(len(pieces), len(tasks)).sum(0).float())

    def _balanced(self, batch: Batch, number: int, probe: bool) -> None:
        """Take a step whose weights the balance finds from the losses."""
        before = torch.get_rng_state() if self.balance.looks_back else None
        x_BD, losses, counts = self._losses(batch)
        if not losses:
            return
        gradients = StepGradients(losses, x_BD, self.model.network.last_shared(), self.ranks)
        if probe:
            self._probe(gradients, list(losses))
        values = self.ranks.sum(torch.stack([loss.detach() for loss in losses.values()]))
        for name, value, total in zip(losses, values.double(), counts, strict=True):
            self.sums_2T[:, self.places[name]] += torch.stack([value * total, total])
        leaves = {name: value.clone().requires_grad_() for name, value in zip(losses, values, strict=True)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed * 1_000_003 + number)
            self.balance(leaves, gradients).backward()
        weighted = [leaf.grad * losses[name] for name, leaf in leaves.items() if leaf.grad is not None]
        torch.stack(weighted).sum().backward()
        self._update()
        if before is not None:
            self._look_back(batch, before)

    def _update(self) -> None:
        self.ranks.add_up_gradients(self.parameters)
        if self.training.gradient_clip is not None:
            clip_gradients(self.parameters, self.training.gradient_clip)
        for optimizer in self.optimizers:
            optimizer.step()

    def settle(self) -> None:
        """Bring rows of tables that no recent batch read to where all steps so far would have brought them."""
        for optimizer in self.optimizers:
            if isinstance(optimizer, RowOptimizer):
                optimizer.catch_up()

    def mean_losses(self) -> dict[str, float]:
        """Return each task's mean loss over the rows that counted since `begin`; a task without any is absent."""
        totals = zip(self.objective.tasks, *self.sums_2T.tolist(), strict=True)
        return {task.name: total / count for task, total, count in totals if count > 0}

    def probed(self) -> dict[str, float]:
        """Return the mean cosines and norms of the tasks' gradients over the steps probed since `begin`."""
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
        """Return the features side by side, this process's part of each present task's mean loss over the batch, and how many
        rows of the batch each counts."""
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
        found = {f"{task}.gradient_norm": float(norm) for task, norm in zip(tasks, norm_T, strict=True)}
        for (a, first), (b, second) in combinations(enumerate(tasks), 2):
            product = float(norm_T[a] * norm_T[b])
            if product > 0:
                found[f"{first}|{second}.cosine"] = float(gramian_TT[a, b]) / product
        for name, value in found.items():
            self.gradients.setdefault(name, []).append(value)

    def _look_back(self, batch: Batch, before: Tensor) -> None:
        """Tell the balance the losses after the step, with the dropout that was drawn before it."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(before)
            _, losses, _ = self._losses(batch)
        values: Mapping[str, Tensor] = {name: self.ranks.sum(loss) for name, loss in losses.items()}
        self.balance.look_back(values)
