"""Reads blocks of rows from a file of columns into separate memory, for a table that is too large for memory.

Memory mapping would load far more than requested on systems that cache files in large pages.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyrec.core import batch
from polyrec.core.batch import Column
from polyrec.data.prepared import Prepared, Ranges
from polyrec.prepare.columns_file import Place


class BlockReader:
    """Reads blocks of prepared rows. Data that all rows share (texts, the elements of histories) stays mapped.

    The file stays open, so that it can be read even after its folder has been removed.
    """

    def __init__(self, path: Path, tree: Mapping[str, Any], mapped: Prepared) -> None:
        self.tree, self.mapped = tree, mapped
        self.file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)

    def __call__(self, ranges: Ranges, before: Prepared | None) -> Prepared:
        """Return the rows of some ranges, concatenated, after the rows `before`, which are already in memory."""
        tree, mapped = self.tree, self.mapped
        columns = {
            name: self._column(column, mapped.columns[name], ranges, None if before is None else before.columns[name])
            for name, column in tree["columns"].items()
        }
        targets = {
            name: self._rows(place, ranges, None if before is None else before.targets[name])
            for name, place in tree["targets"].items()
        }
        masks = {
            name: self._rows(place, ranges, None if before is None else before.masks[name])
            for name, place in tree["masks"].items()
        }
        group_N = None
        if tree["group"] is not None:
            group_N = self._rows(tree["group"], ranges, None if before is None else before.group_N)
        rows = sum(stop - start for start, stop in ranges) + (0 if before is None else before.rows)
        return Prepared(columns, targets, masks, rows, group_N)

    def _column(self, tree: Mapping[str, Any], mapped: Column, ranges: Ranges, before: Column | None) -> Column:
        if isinstance(mapped, batch.Dense):
            assert before is None or isinstance(before, batch.Dense)
            return batch.Dense(self._rows(tree["values_N"], ranges, None if before is None else before.values_N))
        if isinstance(mapped, batch.Indexed):
            assert before is None or isinstance(before, batch.Indexed)
            index_N = self._rows(tree["index_N"], ranges, None if before is None else before.index_N)
            return batch.Indexed(mapped.table_U, index_N)
        if isinstance(mapped, batch.Lookup):
            assert before is None or isinstance(before, batch.Lookup)
            index_N = self._rows(tree["index_N"], ranges, None if before is None else before.index_N)
            return batch.Lookup(mapped.elements, index_N)
        if isinstance(mapped, batch.Sequence):
            assert before is None or isinstance(before, batch.Sequence)
            ends_N = self._rows(tree["ends_N"], ranges, None if before is None else before.ends_N)
            lengths_N = self._rows(tree["lengths_N"], ranges, None if before is None else before.lengths_N)
            return batch.Sequence(mapped.elements, ends_N, lengths_N)
        assert isinstance(mapped, batch.Ragged) and (before is None or isinstance(before, batch.Ragged))
        return self._ragged(tree, ranges, before)

    def _ragged(self, tree: Mapping[str, Any], ranges: Ranges, before: batch.Ragged | None) -> batch.Ragged:
        offsets = [self._rows(tree["offsets"], [(start, stop + 1)], None) for start, stop in ranges]
        value_ranges = [(int(part[0]), int(part[-1])) for part in offsets]
        values = self._rows(tree["values"], value_ranges, None if before is None else before.values)
        lengths = [part.diff() for part in ([] if before is None else [before.offsets]) + offsets]
        return batch.Ragged(values, torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(torch.cat(lengths), 0)]))

    def _rows(self, place: Place, ranges: Sequence[tuple[int, int]], before: Tensor | None) -> Tensor:
        offset, kind, shape = place
        head = 0 if before is None else len(before)
        rows = np.empty((head + sum(stop - start for start, stop in ranges), *shape[1:]), kind)
        if before is not None:
            rows[:head] = before.numpy()
        for start, stop in ranges:
            block = rows[head : head + stop - start]
            head += stop - start
            if block.nbytes:
                self._fill(block.reshape(-1).view(np.uint8).data, offset + start * (block.nbytes // len(block)))
        return torch.from_numpy(rows)

    def _fill(self, buffer: memoryview, offset: int) -> None:
        """Read bytes from the file until the buffer is full; one system call reads at most 2 GiB."""
        while len(buffer):
            count = os.preadv(self.file, [buffer], offset)
            if count == 0:
                raise OSError("a prepared table ends too early: its file changed while it was read")
            buffer, offset = buffer[count:], offset + count
