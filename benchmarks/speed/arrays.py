"""A part of a data set as torch tensors, from its arrays or from its Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speed.workloads import LONGEST, Shape, ids, labels, numbers


@dataclass(frozen=True)
class Arrays:
    """Ids (N, C), numbers (N, X), labels (N, T) and, where there are lists, their values from 1 on, padded with 0 (N, L)."""

    ids: Tensor
    numbers: Tensor
    labels: Tensor
    bags: Tensor | None

    def at(self, rows: Tensor | slice) -> Arrays:
        """Return some of the rows."""
        return Arrays(self.ids[rows], self.numbers[rows], self.labels[rows], None if self.bags is None else self.bags[rows])

    def head(self, rows: int) -> Arrays:
        """Return the first rows."""
        return self.at(slice(rows))


def arrays(folder: str, part: str) -> Arrays:
    """Read a part into memory."""
    read = {path.name.split(".")[1]: torch.from_numpy(np.load(path)) for path in Path(folder).glob(f"{part}.*.npy")}
    return Arrays(read["ids"], read["numbers"], read["labels"], read.get("bags"))


def from_parquet(folder: str, shape: Shape, part: str = "train") -> Arrays:
    """Read a part with pyarrow, a column at a time."""
    import pyarrow.parquet as pq

    table = pq.read_table(Path(folder) / f"{part}.parquet", use_threads=False)

    def tensor(names: list[str], kind: type) -> Tensor:
        block: np.ndarray = np.empty((len(table), len(names)), kind)
        for at, name in enumerate(names):
            block[:, at] = table[name].to_numpy()
        return torch.from_numpy(block)

    bags = None
    if shape.bag:
        lists = table["bag"].combine_chunks()
        lengths = np.diff(lists.offsets.to_numpy())
        padded = np.zeros((len(table), LONGEST), np.int32)
        padded[np.arange(LONGEST) < lengths[:, None]] = lists.flatten().to_numpy() + 1
        bags = torch.from_numpy(padded)
    return Arrays(tensor(ids(shape), np.int32), tensor(numbers(shape), np.float32), tensor(labels(shape), np.float32), bags)
