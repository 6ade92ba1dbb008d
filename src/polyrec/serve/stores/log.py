"""The log of served lists, joined with the subsequent events of their users: rows for training and off-policy evaluation."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import polars as pl

from polyrec.serve.stores.records import Event, ServedList
from polyrec.serve.stores.store import Store

Record = TypeVar("Record")

_SERVED = {
    "request": pl.String,
    "time": pl.Float64,
    "user": pl.String,
    "item": pl.String,
    "position": pl.Int64,
    "score": pl.Float64,
    "propensity": pl.Float64,
    "model": pl.String,
    "shown": pl.Boolean,
}


def export_log(store: Store, window: float, until: float | None = None) -> pl.DataFrame:
    """Return a row for each served item, with the events of its user on it within `window` seconds.

    Columns: request, time (seconds since 1970), user, item, position, score, propensity, model, shown; `prediction.TASK` for
    each task; `event.TYPE`, the number of events of each type, and `event.TYPE.VALUE`, the last such value. An event is
    attributed to the last list before it that showed the item to the user, so that it counts once. The event columns are null
    (unobserved) if the window ends after `until` (by default now), the user is unknown, or the list of a shadow version was not
    shown.
    """
    served = pl.concat([_served_frame([]), *map(_served_frame, pages(store.lists_since))], how="diagonal").with_row_index("row")
    events, values = _events_frame(event for page in pages(store.events_since) for event in page)
    is_open = pl.col("user").is_not_null() & pl.col("shown")
    keys = served.filter(is_open).select("row", "user", "item", "time").sort("time", maintain_order=True)
    matched = events.sort("time", maintain_order=True).join_asof(
        keys, on="time", by=["user", "item"], strategy="backward", tolerance=window, check_sortedness=False
    )
    matched = matched.filter(pl.col("row").is_not_null())
    for kind in sorted(events["type"].unique()):
        of_kind = matched.filter(pl.col("type") == kind)
        columns = {f"event.{kind}.{name}": series for (owner, name), series in sorted(values.items()) if owner == kind}
        interactions = of_kind.select("row", *(series.gather(of_kind["event"]).alias(name) for name, series in columns.items()))
        counts = interactions.group_by("row").agg(
            pl.len().cast(pl.Int64).alias(f"event.{kind}"), *(pl.col(name).drop_nulls().last() for name in columns)
        )
        served = served.join(counts, on="row", how="left", maintain_order="left").with_columns(
            pl.col(f"event.{kind}").fill_null(0)
        )
    is_observed = is_open & (pl.col("time") + window <= (time.time() if until is None else until))
    return served.drop("row").with_columns(pl.when(is_observed).then(pl.col(r"^event\..*$")).name.keep())


def pages(read: Callable[[int], tuple[list[Record], int]]) -> Iterator[list[Record]]:
    """Return all pages of `Store.events_since` or `Store.lists_since`, from the start."""
    page, sequence = read(0)
    while page:
        yield page
        page, sequence = read(sequence)


def _served_frame(lists: Sequence[ServedList]) -> pl.DataFrame:
    rows = [
        {
            **served.model_dump(include={"request", "time", "user", "model", "shown"}),
            **item.model_dump(exclude={"predictions"}),
            **{f"prediction.{task}": value for task, value in item.predictions.items()},
        }
        for served in lists
        for item in served.items
    ]
    predictions = sorted({name for row in rows for name in row} - set(_SERVED))
    return pl.DataFrame(rows, schema={**_SERVED, **dict.fromkeys(predictions, pl.Float64)})


def _events_frame(events: Iterator[Event]) -> tuple[pl.DataFrame, dict[tuple[str, str], pl.Series]]:
    """Return numbered events in order of arrival, and their values by type and name, as text if types are mixed."""
    rows: list[tuple[int, str, str, str, float]] = []
    values: defaultdict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
    for number, event in enumerate(events):
        rows.append((number, event.user, event.item, event.type, event.time))
        for name, value in event.values.items():
            values[event.type, name][number] = value
    schema = {"event": pl.Int64, "user": pl.String, "item": pl.String, "type": pl.String, "time": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame, {key: _series(known, len(rows)) for key, known in values.items()}


def _series(known: dict[int, Any], length: int) -> pl.Series:
    types = {type(value) for value in known.values()} - {type(None)}
    if len(types) > 1:
        known = {number: None if value is None else str(value) for number, value in known.items()}
    dtype = {float: pl.Float64, bool: pl.Boolean}.get(types.pop(), pl.String) if len(types) == 1 else pl.String
    return pl.Series([known.get(number) for number in range(length)], dtype=dtype)
