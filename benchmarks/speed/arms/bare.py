"""Hand-written plain torch: one table for all ids, Adam in the touched rows only, the experts of a layer as one product.

With `dense` the table is an ordinary parameter, and `Adam(fused=True)` updates all of it at every step.

Shape letters: B rows, C id columns, W embedding width, D input width, E experts, H and K widths of their layers, T tasks, L
longest list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speed.arms.bare_rows import RowAdam
from speed.arrays import Arrays, arrays, from_parquet
from speed.auc import mean_auc
from speed.clock import Clock
from speed.columns import first_and_rest
from speed.workloads import Shape, Size, shape_of, size_of


def _layer(*shape: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weights (…, inputs, outputs) and biases (…, 1, outputs), drawn as `nn.Linear` draws them."""
    bound = shape[-2] ** -0.5
    bias = torch.empty(*shape[:-2], 1, shape[-1])
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound)), nn.Parameter(bias.uniform_(-bound, bound))


class Net(nn.Module):
    """Everything above the table: MMoE (without experts: one shared stack) and a tower per task. Maps (B, D) to (B, T)."""

    def __init__(self, width: int, size: Size, tasks: int) -> None:
        super().__init__()
        self.experts, self.tasks = max(size.experts, 1), tasks
        self.first, self.first_bias = _layer(width, self.experts * size.hidden[0])
        stack = [_layer(self.experts, *pair) for pair in itertools.pairwise(size.hidden)]
        towers = [_layer(tasks, *pair) for pair in itertools.pairwise((size.hidden[-1], *size.tower, 1))]
        self.stack, self.stack_biases = (nn.ParameterList(pair[at] for pair in stack) for at in (0, 1))
        self.towers, self.tower_biases = (nn.ParameterList(pair[at] for pair in towers) for at in (0, 1))
        self.gate = nn.Linear(width, tasks * size.experts, bias=False) if size.experts else None

    def forward(self, x_BD: Tensor) -> Tensor:
        h_BEH = torch.relu_(torch.addmm(self.first_bias, x_BD, self.first)).view(len(x_BD), self.experts, -1)
        h_EBH = h_BEH.transpose(0, 1)
        for weight, bias in zip(self.stack, self.stack_biases, strict=True):
            h_EBH = torch.relu_(torch.baddbmm(bias, h_EBH, weight))
        if self.gate is None:
            h_TBH = h_EBH.expand(self.tasks, -1, -1)
        else:
            gate_BTE = torch.softmax(self.gate(x_BD).view(len(x_BD), self.tasks, self.experts), -1)
            h_TBH = torch.einsum("bte,ebh->tbh", gate_BTE, h_EBH)
        for weight, bias in zip(self.towers[:-1], self.tower_biases[:-1], strict=True):
            h_TBH = torch.relu_(torch.baddbmm(bias, h_TBH, weight))
        return torch.baddbmm(self.tower_biases[-1], h_TBH, self.towers[-1]).squeeze(2).T


class Loop:
    """A table, a network and their optimisers."""

    def __init__(self, shape: Shape, size: Size, dense: bool) -> None:
        self.width, self.dense = size.width, dense
        vocabularies = (*shape.vocabularies, *((shape.bag + 1,) if shape.bag else ()))
        self.offsets = torch.tensor([0, *itertools.accumulate(vocabularies)])
        self.table = nn.Parameter(torch.randn(int(self.offsets[-1]), size.width) * 0.01, requires_grad=dense)
        columns = len(vocabularies)
        self.net = Net(columns * size.width + shape.numbers, size, shape.tasks)
        parameters = [*self.net.parameters(), *([self.table] if dense else [])]
        self.adam = torch.optim.Adam(parameters, size.learning_rate, fused=True)
        self.rows = None if dense else RowAdam(self.table.data, size.learning_rate)

    def inputs(self, data: Arrays, rows_B: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Gather a batch: table rows (B, C) of the ids, numbers, and table rows (B, L) of the list, its padding last."""
        ids_BC = data.ids[rows_B].long() + self.offsets[: data.ids.shape[1]]
        bags_BL = None if data.bags is None else data.bags[rows_B].long() + self.offsets[-2]
        return ids_BC, data.numbers[rows_B], bags_BL

    def forward(self, ids_BC: Tensor, numbers_BX: Tensor, bags_BL: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, the touched rows in order, and their vectors."""
        touched = ids_BC.flatten() if bags_BL is None else torch.cat([ids_BC.flatten(), bags_BL.flatten()])
        vectors = self.table[touched] if self.dense else self.table[touched].requires_grad_(torch.is_grad_enabled())
        x_BD = vectors[: ids_BC.numel()].view(len(ids_BC), -1)
        if bags_BL is not None:
            mask_BL = (bags_BL > self.offsets[-2]).float()
            summed_BW = torch.einsum("blw,bl->bw", vectors[ids_BC.numel() :].view(*bags_BL.shape, self.width), mask_BL)
            x_BD = torch.cat([x_BD, summed_BW / mask_BL.sum(1, keepdim=True).clamp(min=1)], 1)
        return self.net(torch.cat([x_BD, numbers_BX], 1)), touched, vectors

    def epoch(self, data: Arrays, batch: int) -> None:
        """Pass once over the rows in random order."""
        for rows_B in torch.randperm(len(data.labels)).split(batch):
            self.adam.zero_grad()
            logits_BT, touched, vectors = self.forward(*self.inputs(data, rows_B))
            loss = functional.binary_cross_entropy_with_logits(logits_BT, data.labels[rows_B]) * logits_BT.shape[1]
            loss.backward()
            self.adam.step()
            if self.rows is not None:
                self.rows.step(touched, vectors.grad)

    @torch.inference_mode()
    def predict(self, data: Arrays, batch: int = 8192) -> np.ndarray:
        """Return probabilities (N, T)."""
        parts = torch.arange(len(data.labels)).split(batch)
        return torch.cat([torch.sigmoid(self.forward(*self.inputs(data, rows_B))[0]) for rows_B in parts]).numpy()


def _loop(job: dict[str, Any]) -> Loop:
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    return Loop(shape_of(job), size_of(job), job.get("dense", False))


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Train for one epoch on arrays in memory, and evaluate on the test rows."""
    data, loop = arrays(job["data"], "train"), _loop(job)
    with Clock() as clock:
        loop.epoch(data, job["batch"])
    test = arrays(job["data"], "test")
    return clock.told(samples=len(data.labels), auc=mean_auc(test.labels.numpy(), loop.predict(test)))


def rank(job: dict[str, Any]) -> dict[str, Any]:
    """Score the candidates of one user repeatedly: the forward pass of all rows."""
    loop, data = _loop(job), arrays(job["data"], "test")
    data = data.head(job["candidates"])
    times = []
    for _ in range(job["repeats"]):
        with Clock() as clock:
            loop.predict(data)
        times.append(clock.told())
    return {"times": times}


def load(job: dict[str, Any]) -> dict[str, Any]:
    """From Parquet to shuffled batches: pyarrow reads columns, torch gathers rows."""
    torch.set_num_threads(job["threads"])

    def batches() -> Iterator[int]:
        data = from_parquet(job["data"], shape_of(job))
        return (len(data.at(rows_B).labels) for rows_B in torch.randperm(len(data.labels)).split(job["batch"]))

    return first_and_rest(Clock, batches)
