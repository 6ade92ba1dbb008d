"""One step of training: from a batch to an update of the weights.

Shape letters: B rows, M items drawn, T tasks, D width of all features together.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from polyrec.balancing.balancer import Balance
from polyrec.core.batch import Batch
from polyrec.data.prepared import Prepared
from polyrec.model import Model
from polyrec.objective import Objective
from polyrec.train.gradients import StepGradients
from polyrec.train.optimizers import build_optimizers, clip_gradients, step_size
from polyrec.train.ranks import Ranks
from polyrec.train.training import Training


class Step:
    """Model, objective, balance and optimisers together.

    The balance sees the losses of the whole batch as leaves; the derivatives of its total by them are the tasks' weights, and
    the weighted sum is differentiated once. This is ordinary backpropagation of the total, in two pieces, so that losses can be
    added up over processes in between.
    """

    def __init__(self, model: Model, objective: Objective, balance: Balance, training: Training, ranks: Ranks) -> None:
        self.model, self.objective, self.balance = model, objective, balance
        self.training, self.ranks = training, ranks
        tables = model.tables()
        for table in tables:
            table.sparse = training.sparse
        rows = [parameter for table in tables for parameter in table.parameters()]
        self.parameters = list(model.parameters())
        self.optimizers = build_optimizers(self.parameters, rows, list(balance.parameters()), training)
        self.negatives = max(task.uniform_negatives for task in objective.tasks)
        self.begin()

    def begin(self) -> None:
        """Forget the losses and gradients seen."""
        self.sums: dict[str, Tensor] = {task.name: torch.zeros(2, dtype=torch.float64) for task in self.objective.tasks}
        self.gradients: dict[str, list[float]] = {}

    def __call__(self, data: Prepared, rows_B: Tensor, number: int, steps: int, probe: bool) -> None:
        """Take step `number` of `steps` on some rows of a table.

        A batch without any label, or with too few rows to share, is skipped.
        """
        if len(rows_B) < self.ranks.count:
            return
        share = step_size(number, steps, self.training.schedule, self.training.warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.training.learning_rate * share
            optimizer.zero_grad(set_to_none=True)
        batch = self._gather(data, rows_B)
        before = torch.get_rng_state() if self.balance.looks_back else None
        x_BD, losses, counts = self._losses(batch)
        if not losses:
            return
        gradients = StepGradients(losses, x_BD, self.model.network.last_shared(), self.ranks)
        if probe:
            self._probe(gradients, list(losses))
        values = self.ranks.sum(torch.stack([loss.detach() for loss in losses.values()]))
        for name, value, total in zip(losses, values.double(), counts, strict=True):
            self.sums[name] += torch.stack([value * total, total])
        leaves = {name: value.clone().requires_grad_() for name, value in zip(losses, values, strict=True)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed * 1_000_003 + number)
            self.balance(leaves, gradients).backward()
        weighted = [leaf.grad * losses[name] for name, leaf in leaves.items() if leaf.grad is not None]
        torch.stack(weighted).sum().backward()
        self.ranks.add_up_gradients(self.parameters)
        if self.training.gradient_clip is not None:
            clip_gradients(self.parameters, self.training.gradient_clip)
        with torch.sparse.check_sparse_tensor_invariants(enable=False):
            for optimizer in self.optimizers:
                optimizer.step()
        if before is not None:
            self._look_back(batch, before)

    def mean_losses(self) -> dict[str, float]:
        """Return each task's mean loss over the rows that counted since `begin`; a task without any is absent."""
        return {name: float(total[0] / total[1]) for name, total in self.sums.items() if total[1] > 0}

    def probed(self) -> dict[str, float]:
        """Return the mean cosines and norms of the tasks' gradients over the steps probed since `begin`."""
        return {name: sum(values) / len(values) for name, values in self.gradients.items()}

    def _gather(self, data: Prepared, rows_B: Tensor) -> Batch:
        rows_B = self.ranks.share(rows_B)
        if self.negatives == 0:
            return data.batch(rows_B)
        return data.batch(rows_B, torch.randint(len(data.items.rows_I), (self.negatives,)))

    def _losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the features side by side, this process's part of each present task's mean loss over the batch, and how many
        rows of the batch each counts."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training.precision == "bfloat16"):
            x_BD = self.model.encode(batch)
            raw = {name: value.float() for name, value in self.model.decode(x_BD).items()}
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
