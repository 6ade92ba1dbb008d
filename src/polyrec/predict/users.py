"""The known users of a fitted recommender, encoded once, and the user features of a request."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import polars as pl

from polyrec.artifact.parts import Parts
from polyrec.core.batch import Column, Constant
from polyrec.core.errors import UserError, nearest
from polyrec.data.encoding import encode_features
from polyrec.data.keys import Keys
from polyrec.data.log import TIME, USER, Log
from polyrec.features.text_feature import TextFeature


class Users:
    """All users of the user table or the log, by key, followed by one row for an unknown user.

    The first request encodes the features of all users. A request then looks up a row, and encodes only features of the columns
    that it gives. Texts are encoded per request, because a language model is slow.
    """

    def __init__(self, parts: Parts, key: str, log: Log) -> None:
        self.parts, self.key, self.log = parts, key, log
        spec, schema = parts.spec, parts.frames.columns.schema
        self.features = {feature.name: feature for feature in (*spec.user, *spec.features)}
        self.kinds = {column: schema[column] for feature in self.features.values() for column in feature.columns}
        self.read = {column: [f.name for f in self.features.values() if column in f.columns] for column in self.kinds}
        self.texts = {feature.name for feature in self.features.values() if isinstance(feature, TextFeature)}

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The columns that features read, one row per user, and a last row of nulls."""
        known, kind = self.parts.frames.users, self.kinds[self.key]
        assert known is not None
        logged = self.log.frame.select(pl.col(USER).cast(kind, strict=False).alias(self.key)).unique(maintain_order=True)
        known = known.select(pl.col(name).cast(self.kinds[name]) for name in known.columns if name in self.kinds)
        logged = logged.drop_nulls().join(known, on=self.key, how="anti", maintain_order="left")
        rows = pl.concat([known, logged, pl.DataFrame({self.key: [None]}, schema={self.key: kind})], how="diagonal")
        return rows.select(
            pl.col(name) if name in rows.columns else pl.lit(None, kind).alias(name) for name, kind in self.kinds.items()
        )

    @cached_property
    def keys(self) -> Keys:
        """Row of each user in the frame, by key."""
        return Keys(self.frame[self.key])

    def columns(self, given: Mapping[str, Any]) -> dict[str, Column]:
        """Return the user's features as constant columns.

        Given columns replace the known values of the user; unknown columns are null.
        """
        for name in given:
            if name not in self.kinds:
                expected = "a column of the user's side or of the row"
                raise UserError(
                    f"argument {name!r}", expected=expected, found="no such column", remedy=nearest(name, self.kinds)
                )
        (place,) = self.keys.find([given.get(self.key)])
        row = self.frame.height - 1 if place is None else place
        replaced = [name for name in given if place is None or name != self.key]
        fresh = self.texts.union(*(self.read[name] for name in replaced))
        columns: dict[str, Column] = {name: Constant(column, row) for name, column in self._known.items() if name not in fresh}
        if fresh:
            values = self.frame[row].with_columns(_cast(name, given[name], self.kinds[name]) for name in replaced)
            encoded = encode_features(values, self.parts.spec.all_features, self.parts.feature_states, only=fresh)
            columns |= {name: Constant(column) for name, column in encoded.items()}
        return columns

    def last_time(self, user: object) -> float | None:
        """Return the time of a user's last row in the log; None for a user without rows."""
        (place,) = self._last[0].find([user])
        return None if place is None else self._last[1][place]

    @cached_property
    def _last(self) -> tuple[Keys, list[float]]:
        """The users of the log, and the time of the last row of each."""
        times = self.log.frame.group_by(USER, maintain_order=True).agg(pl.col(TIME).max())
        return Keys(times[USER]), times[TIME].to_list()

    @cached_property
    def _known(self) -> dict[str, Column]:
        only = self.features.keys() - self.texts
        who = self.frame.select(pl.col(self.key).alias(USER))
        return encode_features(self.frame, self.parts.spec.all_features, self.parts.feature_states, self.log, who, only)


def _cast(name: str, value: Any, kind: pl.DataType) -> pl.Series:
    series = pl.Series(name, [value])
    try:
        return series.cast(kind)
    except pl.exceptions.PolarsError as error:
        remedy = "Give a value of the column's type."
        raise UserError(f"argument {name!r}", expected=f"a value of type {kind}", found=f"{value!r}", remedy=remedy) from error


def request_columns(key: str, user: object, features: Mapping[str, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's columns of a request: the key, features given as a mapping, and features given as keywords.

    Raises `UserError` for a column that is given twice.
    """
    columns = dict(features)
    for name, value in (*keywords.items(), *([(key, user)] if user is not None else [])):
        if name in columns:
            remedy = "Give it once: in `user`, in `features`, or as a keyword."
            raise UserError(f"column {name!r} of the request", expected="one value", found="two", remedy=remedy)
        columns[name] = value
    return columns
