"""Text: what a language model reads in one or several columns. Shape letters: N rows, U distinct texts, D vector width."""

from __future__ import annotations

import string
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator

from polyrec.core.batch import Indexed
from polyrec.core.errors import UserError
from polyrec.core.frames import pack, unpack
from polyrec.features.feature import Encoder, Feature, State
from polyrec.features.numeric import LinearEncoder
from polyrec.language.encoder import TextEncoder
from polyrec.language.package import Package
from polyrec.language.post_processing import PostProcessing, effective_rank, mean_cosine, processed_width
from polyrec.language.vectors import learn, vectors

_NOTHING = "nothing"
"""Stands for the training texts of an encoder that learns from them, where all of them are blank."""


class Text(Feature):
    """A text about the row, through a frozen language model and a learned adapter.

    The template is filled from the columns, white space folded, control characters dropped, and each distinct text encoded
    once, through a cache that outlives the run. Vectors are processed as `post` says, fitted on the distinct training texts,
    then a linear layer maps (vector, 1 if empty) to (B, width). A text that is blank or all null has the vector 0. State:
    `post` and, for an encoder that is fitted, `learned`, each a whole frame; `mean_cosine` and `effective_rank` of the training
    texts' vectors before and after.
    """

    examples = ({"name": "text", "template": "{title}. {genres}"}, {"name": "title", "max_characters": 200})

    template: str | None = None
    """Text with columns in braces, such as `{title}. {genres}`; lists are joined by commas, nulls are left out. Unset, the
    column named like the feature."""
    encoder: TextEncoder = Package()
    """The language model."""
    post: PostProcessing = PostProcessing()
    """What is done to its vectors."""
    written: str | None = None
    """Column that tells when the text was written. `fit` refuses rows whose text is not older than the row: what was written
    with the label or after it may tell it."""
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
        known = texts.filter(texts != "").to_list()
        learned = learn(self.encoder, known or [_NOTHING])
        before = vectors(self.encoder, known, learned) if known else np.zeros((1, _width(self.encoder, learned)), np.float32)
        post = self.post.fit(before)
        after = self.post.apply(before, post)
        figures = {
            "mean_cosine": [[mean_cosine(before), mean_cosine(after)]],
            "effective_rank": [[effective_rank(before), effective_rank(after)]],
        }
        return pl.DataFrame({"post": pack(post), "learned": pack(learned), **figures})

    def encode(self, values: pl.DataFrame, state: State) -> Indexed:
        texts = self.render(values)
        distinct = texts.unique(maintain_order=True)
        known = (distinct != "").to_numpy()
        post = unpack(state["post"])
        table = np.zeros((len(distinct), processed_width(post) + 1), dtype=np.float32)
        table[~known, -1] = 1.0
        if known.any():
            raw = vectors(self.encoder, distinct.filter(pl.Series(known)).to_list(), unpack(state["learned"]))
            table[known, :-1] = self.post.apply(raw, post)
        numbers = pl.DataFrame({"text": distinct}).with_row_index("number")
        index = texts.alias("text").to_frame().join(numbers, on="text", how="left", maintain_order="left")["number"]
        return Indexed(torch.from_numpy(table), index.cast(pl.Int32).to_torch())

    def build(self, state: State) -> Encoder:
        return LinearEncoder(processed_width(unpack(state["post"])) + 1, self.width)

    def describe(self, state: State) -> dict[str, Any]:
        names = ("mean_cosine", "effective_rank")
        return {f"{name}_{when}": state[name][0][place] for name in names for place, when in enumerate(("raw", "processed"))}

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


def _width(encoder: TextEncoder, learned: pl.DataFrame) -> int:
    return encoder.vector_width() if learned.width == 0 else vectors(encoder, [_NOTHING], learned).shape[1]


def _as_text(column: str, kind: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if isinstance(kind, pl.Array):
        value = value.arr.to_list()
    if isinstance(kind, pl.List | pl.Array):
        value = value.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    return value.cast(pl.String).fill_null("").str.strip_chars()
