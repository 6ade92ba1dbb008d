"""Blocks of rows, read from a file of columns into memory of their own: how a table that is too large for memory is met.

Mapping them instead would bring in far more than was asked for, where the system keeps files in large pages.
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
    """Reads blocks of prepared rows. What all rows share (texts, the elements of histories) stays mapped.

    The file is held open, so that it can be read even when its folder has been removed.
    """

    def __init__(self, path: Path, tree: Mapping[str, Any], mapped: Prepared) -> None:
        self.tree, self.mapped = tree, mapped
        self.file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)

    def __call__(self, ranges: Ranges, before: Prepared | None) -> Prepared:
        """Return the rows of some ranges, one below the other, after some rows that are in memory already."""
        tree, mapped = self.tree, self.mapped
        columns = {
            name: self._column(own, mapped.columns[name], ranges, None if before is None else before.columns[name])
            for name, own in tree["columns"].items()
        }
        targets = {
            name: self._rows(own, ranges, None if before is None else before.targets[name])
            for name, own in tree["targets"].items()
        }
        masks = {
            name: self._rows(own, ranges, None if before is None else before.masks[name]) for name, own in tree["masks"].items()
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
        inside = [(int(own[0]), int(own[-1])) for own in offsets]
        values = self._rows(tree["values"], inside, None if before is None else before.values)
        lengths = [own.diff() for own in ([] if before is None else [before.offsets]) + offsets]
        return batch.Ragged(values, torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(torch.cat(lengths), 0)]))

    def _rows(self, place: Place, ranges: Sequence[tuple[int, int]], before: Tensor | None) -> Tensor:
        offset, kind, shape = place
        head = 0 if before is None else len(before)
        found = np.empty((head + sum(stop - start for start, stop in ranges), *shape[1:]), kind)
        if before is not None:
            found[:head] = before.numpy()
        for start, stop in ranges:
            own = found[head : head + stop - start]
            head += stop - start
            if own.nbytes:
                self._fill(own.reshape(-1).view(np.uint8).data, offset + start * (own.nbytes // len(own)))
        return torch.from_numpy(found)

    def _fill(self, place: memoryview, offset: int) -> None:
        """Read bytes from the file until the place is full; one reading gives 2 GiB at most."""
        while len(place):
            count = os.preadv(self.file, [place], offset)
            if count == 0:
                raise OSError("a prepared table ends too early; it was changed while it was read")
            place, offset = place[count:], offset + count
