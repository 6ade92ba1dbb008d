"""`TextFeature`: base of the features that read a text about the row. Shape letters: N rows, U distinct texts."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Self

import polars as pl
from pydantic import Field, model_validator
from torch import Tensor

from polyrec.core.errors import UserError
from polyrec.features.feature import Feature
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.package import Package


class TextFeature(Feature, kind=False):
    """A feature of a text that a template renders from the row's columns."""

    template: str | None = None
    """Text with columns in braces, such as `{title}. {genres}`; lists are joined by commas, nulls are omitted. Unset: the
    column named like the feature."""
    encoder: TextEncoder = Package()
    """The language model."""
    written: str | None = None
    """Column of the time at which the text was written. `fit` refuses rows whose text is not older than the row, because a text
    written with the label or after it may reveal it."""
    max_characters: int = Field(default=4000, gt=0)
    """Maximum number of characters of a text: above the input length of language models, but short enough to tokenize fast."""

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

    def pinned(self) -> Self:
        return self.replace(encoder=self.encoder.pinned())

    def identity(self) -> Mapping[str, Any]:
        return dict(self.encoder.identity())

    def render(self, values: pl.DataFrame) -> pl.Series:
        """Return each row's text; empty if all its columns are null or blank."""
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
                remedy="Cast the column to string, or name its field that holds the text.",
            )


def numbered(texts: pl.Series) -> tuple[pl.Series, Tensor]:
    """Return the distinct texts (U,) in order of first occurrence, and the number of each row's text, (N,)."""
    distinct = texts.unique(maintain_order=True)
    numbers = pl.DataFrame({"text": distinct}).with_row_index("number")
    index = texts.alias("text").to_frame().join(numbers, on="text", how="left", maintain_order="left")["number"]
    return distinct, index.cast(pl.Int32).to_torch()


def _as_text(column: str, kind: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if isinstance(kind, pl.Array):
        value = value.arr.to_list()
    if isinstance(kind, pl.List | pl.Array):
        value = value.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    return value.cast(pl.String).fill_null("").str.strip_chars()
