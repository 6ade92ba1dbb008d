"""Ids numbered like a label encoder: those of the training rows from 1 on, 0 for all others.

The arrays of peers and of the plain loop contain these numbers, so their tables have the same rows as those of a library
that learns its vocabularies from the training rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


def number(folder: Path, kind: str, parts: tuple[str, ...]) -> list[int]:
    """Number the columns of the arrays in place, the first part being the training rows; return the number of ids per column.

    Lists (`bags`) are one column; their values start at 1, and 0 is padding and stays 0.
    """
    opened = [np.load(folder / f"{part}.{kind}.npy", mmap_mode="r+") for part in parts]
    counts = []
    for at in range(1 if kind == "bags" else opened[0].shape[1]):
        columns = [array if kind == "bags" else array[:, at] for array in opened]
        known = np.unique(columns[0])
        known = known[known > 0] if kind == "bags" else known
        for column in columns:
            place = np.minimum(np.searchsorted(known, column), len(known) - 1)
            column[...] = np.where(known[place] == column, place + 1, 0)
        counts.append(len(known))
    return counts
