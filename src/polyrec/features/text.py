"""Text: what a language model reads in one or several columns. Shape letters: N rows, U distinct texts, D vector width."""

from __future__ import annotations

import string
from typing import Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator

from polyrec.core.batch import Indexed
from polyrec.core.errors import UserError
from polyrec.features.feature import Encoder, Feature, State
from polyrec.features.numeric import LinearEncoder
from polyrec.language.cache import encode_cached
from polyrec.language.encoder import TextEncoder
from polyrec.language.package import Package

_ALIKE = 1e-5
"""Deviation, relative to the vectors' size, below which they differ by rounding alone."""


class Text(Feature):
    """A text about the row, through a frozen language model and a learned adapter.

    The template is filled from the columns, white space folded, control characters dropped, and each distinct text encoded
    once, through a cache that outlives the run. Vectors are centred and divided by their overall deviation over the distinct
    training texts, then a linear layer maps (vector, 1 if empty) to (B, width). A text that is blank or all null has the
    vector 0. State: `mean`, `scale`, one row a dimension.
    """

    examples = ({"name": "text", "template": "{title}. {genres}"}, {"name": "title", "max_characters": 200})

    template: str | None = None
    """Text with columns in braces, such as `{title}. {genres}`; lists are joined by commas, nulls are left out. Unset, the
    column named like the feature."""
    encoder: TextEncoder = Package()
    """The language model."""
    max_characters: int = Field(default=4000, gt=0)
    """Characters kept of a text: more than encoders read, less than what would stall them."""

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        for _, field, form, conversion in string.Formatter().parse(self.template or ""):
            if field is not None and (not field or form or conversion or any(sign in field for sign in ".[]")):
                raise ValueError(f"template {self.template!r} may hold plain column names in braces, not {{{field}}}")
        if self.template is not None and not self.columns:
            raise ValueError(f"template {self.template!r} names no column; write it in braces: {{title}}")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        if self.template is None:
            return (self.name,)
        return tuple(dict.fromkeys(field for _, field, _, _ in string.Formatter().parse(self.template) if field))

    def fit(self, values: pl.DataFrame) -> State:
        texts = self.render(values).unique(maintain_order=True)
        vectors = encode_cached(self.encoder, texts.filter(texts != "").to_list())
        if len(vectors) == 0:
            vectors = encode_cached(self.encoder, ["empty"])
        mean = vectors.mean(0, dtype=np.float64)
        deviation, size = float(np.sqrt(np.square(vectors - mean).mean())), float(np.sqrt(np.square(vectors).mean()))
        differs = deviation > _ALIKE * size
        return pl.DataFrame({"mean": mean, "scale": np.full(len(mean), deviation if differs else 1.0)})

    def encode(self, values: pl.DataFrame, state: State) -> Indexed:
        texts = self.render(values)
        distinct = texts.unique(maintain_order=True)
        known = (distinct != "").to_numpy()
        table = np.zeros((len(distinct), len(state) + 1), dtype=np.float32)
        table[~known, -1] = 1.0
        if known.any():
            vectors = encode_cached(self.encoder, distinct.filter(pl.Series(known)).to_list())
            table[known, :-1] = (vectors - state["mean"].to_numpy()) / state["scale"].to_numpy()
        numbers = pl.DataFrame({"text": distinct}).with_row_index("number")
        index = texts.alias("text").to_frame().join(numbers, on="text", how="left", maintain_order="left")["number"]
        return Indexed(torch.from_numpy(table), index.cast(pl.Int32).to_torch())

    def build(self, state: State) -> Encoder:
        return LinearEncoder(len(state) + 1, self.width)

    def render(self, values: pl.DataFrame) -> pl.Series:
        """Return each row's text; empty where all its columns are null or blank."""
        for column in self.columns:
            self._check_readable(column, values.schema[column])
        template = self.template or f"{{{self.name}}}"
        parts: list[pl.Expr] = []
        for literal, field, _, _ in string.Formatter().parse(template):
            parts.append(pl.lit(literal))
            if field:
                parts.append(_as_text(field, values.schema[field]))
        filled = [_as_text(column, values.schema[column]) != "" for column in self.columns]
        text = pl.concat_str(parts).str.replace_all(r"[\p{Cc}\s]+", " ").str.strip_chars().str.slice(0, self.max_characters)
        return values.select(text=pl.when(pl.any_horizontal(filled)).then(text).otherwise(pl.lit("")))["text"]

    def _check_readable(self, column: str, kind: pl.DataType) -> None:
        inner = kind.inner if isinstance(kind, pl.List | pl.Array) else kind
        if inner in (pl.Binary, pl.Object) or inner.is_nested():
            raise UserError(
                f"column {column!r} of the feature {self.name!r}",
                expected="text, numbers, dates, categories or lists of them",
                found=f"the type {kind}",
                remedy="Cast the column to string, or name the field of it that holds the text.",
            )


def _as_text(column: str, kind: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if isinstance(kind, pl.Array):
        value = value.arr.to_list()
    if isinstance(kind, pl.List | pl.Array):
        value = value.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    return value.cast(pl.String).fill_null("").str.strip_chars()
