"""A part of a data set as numpy columns by name, the input of the peers. Needs only numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from speed.workloads import Shape, ids, labels, numbers


def columns(folder: str, part: str, shape: Shape, rows: int | None = None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns of a part, lists padded with 0 to (N, L) as `bag`, and the labels (N, T)."""
    read = {path.name.split(".")[1]: np.load(path)[:rows] for path in Path(folder).glob(f"{part}.*.npy")}
    x = {name: read["ids"][:, at].copy() for at, name in enumerate(ids(shape))}
    x |= {name: read["numbers"][:, at].copy() for at, name in enumerate(numbers(shape))}
    if shape.bag:
        x["bag"] = read["bags"]
    return x, read["labels"]


def from_pandas(folder: str, shape: Shape, part: str = "train") -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the same, read from Parquet with pandas, as the peers' examples read their files."""
    import pandas as pd

    frame = pd.read_parquet(Path(folder) / f"{part}.parquet")
    x = {name: frame[name].to_numpy() for name in (*ids(shape), *numbers(shape))}
    return x, frame[labels(shape)].to_numpy().astype(np.float32)


def first_and_rest(clock: Any, make: Any) -> dict[str, Any]:
    """Time a loader: from its creation to the first batch, and a complete pass.

    `make` returns an iterator over the numbers of rows of the batches. One batch is read before the clock
    starts, so the timed run is a second run: imports are done and prepared files exist. CPU time includes the loader's
    processes.
    """
    next(iter(make()))
    with clock(tree=True) as first:
        batches = iter(make())
        head = next(batches)
    with clock(tree=True) as rest:
        samples = head + sum(batches)
    return {
        "cpu_seconds": first.cpu_seconds + rest.cpu_seconds,
        "wall_seconds": first.wall_seconds + rest.wall_seconds,
        "samples": samples,
        "first_batch_seconds": first.wall_seconds,
        "after_first": (samples - head) / rest.cpu_seconds,
    }
