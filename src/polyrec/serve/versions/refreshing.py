"""Refresh a version with newer rows, and publish it unless it is worse than the current one on the newest of them."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.log import TIME
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.evaluate.bootstrap import paired_interval
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.observing import observe
from polyrec.recommender import Fitted
from polyrec.serve.stores.store import Store
from polyrec.serve.versions.slot import Slot
from polyrec.serve.versions.table_to_learn import TableToLearn, kept_table, with_events
from polyrec.serve.versions.versions import VERSIONS, publish, read_pointer

FEWEST = 100
"""Minimum number of new rows: fewer give no reliable comparison."""

QUARTER = 4
"""Continued training takes 1/QUARTER of the declared epochs."""


@dataclass(frozen=True)
class Change:
    """The headline metric of a task on the newest rows, of the current and of the new version."""

    task: str
    metric: str
    before: float
    after: float
    low: float
    high: float
    """95 % interval of after minus before, from bootstrap resamples of users; NaN if no resample defines the metric."""

    @property
    def is_judged(self) -> bool:
        """Whether the interval is finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def is_worse(self) -> bool:
        """Whether the entire interval is on the worse side of 0."""
        return self.high < 0 if METRICS[self.metric].higher_is_better else self.low > 0


@dataclass(frozen=True)
class Refreshed:
    """The outcome of a refresh."""

    version: str | None
    """The published version; none if it was worse or could not be judged."""
    changes: tuple[Change, ...]
    rows: int
    """Number of rows on which both versions were judged."""
    reason: str | None = None
    """Why nothing was published; none if a version was published."""


@dataclass(frozen=True)
class _Parts:
    """The rows of a table: those known to the current version, and the earlier and later halves of the new ones."""

    known: pl.DataFrame
    fresh: pl.DataFrame
    newest: pl.DataFrame


def refresh(
    folder: Path,
    data: Source | Tables | None = None,
    *,
    store: Store | None = None,
    from_scratch: bool = False,
    epochs: int | None = None,
    resamples: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Refreshed:
    """Continue training of the current version with newer rows, and publish the result if it is no worse.

    The rows are a table with known and newer rows, plus the events of a `store`. Without a table, the known rows are those that
    the version kept. Rows later than all known rows are new; they are split at their median time. The earlier half is trained
    on with the known rows. The later half, unseen by both versions, compares them. Nothing is published if the interval of any
    task's headline metric is entirely on the worse side, or if no task's metric has an interval on these rows.

    Training continues from the current weights (`Recommender.fit(start=…)`) over all rows, for a quarter of the declared epochs
    or for `epochs`. A tenth of the earlier half is held out to select the best epoch (at least 50 rows, at most half of it).
    With `from_scratch` the declaration is fitted anew.

    Raises `UserError` if rows have no time, if fewer than 100 are new, or if there is no table and the version kept too few
    columns.
    """
    if data is None and store is None:
        remedy = "Give a table, a store or both."
        raise UserError("a refresh", expected="rows to learn from", found="none", remedy=remedy)
    version = read_pointer(folder).current
    current = Fitted.load(folder / VERSIONS / version)
    if current.roles.time is None:
        remedy = "Declare the time's column and fit again: Recommender(time=…)."
        raise UserError("a refresh", expected="a recommender with a time column", found="one without", remedy=remedy)
    if store is not None and not current.can_rank:
        remedy = "Give a table alone."
        expected = "a recommender of users and items"
        raise UserError("a refresh from a store", expected=expected, found="another kind", remedy=remedy)
    table = kept_table(current) if data is None else TableToLearn.of(data)
    if store is not None:
        slot = Slot(version, current)
        slot.follow(store)
        table = with_events(table, slot, store)
    parts = _split(current, table.rows)
    fitted = (
        _fit_anew(current, table, parts, epochs, progress) if from_scratch else _go_on(current, table, parts, epochs, progress)
    )
    newest = join(table.tables(parts.newest), current.roles.user, current.roles.item).frame
    changes = _changes(current, fitted, newest, resamples, seed)
    if any(change.is_worse for change in changes):
        return Refreshed(None, changes, newest.height, "a task is worse on the newest rows")
    if not any(change.is_judged for change in changes):
        return Refreshed(None, changes, newest.height, "no task could be judged on the newest rows")
    with tempfile.TemporaryDirectory() as place:
        version = publish(fitted.save(Path(place) / "artifact"), folder)
    return Refreshed(version, changes, newest.height)


def _split(current: Fitted, frame: pl.DataFrame) -> _Parts:
    assert current.roles.time is not None
    require_columns(frame, (current.roles.time,), "a refresh")
    times_N = read_times(frame[current.roles.time], current.parts.facts.data.clock)[0].to_numpy()
    last = current.catalogue.log.frame[TIME].max()
    new_N = times_N > last
    if new_N.sum() < FEWEST:
        found, remedy = f"{int(new_N.sum())}", "Wait for more, or give a table with newer rows."
        raise UserError("new rows", expected=f"{FEWEST} or more, later than all known ones", found=found, remedy=remedy)
    judged_N = times_N > np.median(times_N[new_N])
    return _Parts(*(frame.filter(pl.Series(mask_N)) for mask_N in (~new_N, new_N & ~judged_N, judged_N)))


def _fit_anew(current: Fitted, table: TableToLearn, parts: _Parts, epochs: int | None, progress: bool) -> Fitted:
    training = current.spec.training if epochs is None else current.spec.training.replace(epochs=epochs)
    return current.spec.fit(table.tables(pl.concat([parts.known, parts.fresh])), training=training, progress=progress)


def _go_on(current: Fitted, table: TableToLearn, parts: _Parts, epochs: int | None, progress: bool) -> Fitted:
    """Continue training from the current weights. New rows select the epoch, as known rows were already trained on."""
    training = current.spec.training
    training = training.replace(epochs=-(-training.epochs // QUARTER) if epochs is None else epochs)
    count = parts.fresh.height
    held = np.random.default_rng(training.seed).permutation(count) < min(max(count // 10, FEWEST // 2), count // 2)
    learned = pl.concat([parts.known, parts.fresh.filter(pl.Series(~held))])
    validation = parts.fresh.filter(pl.Series(held))
    return current.spec.fit(table.tables(learned), validation, training, start=current, progress=progress)


def _changes(current: Fitted, fitted: Fitted, newest: pl.DataFrame, resamples: int, seed: int) -> tuple[Change, ...]:
    before, after = observe(current, newest), observe(fitted, newest)
    changes = []
    for task in current.spec.tasks:
        metric = next((name for name in task.metrics if name in METRICS), None)
        if metric is None or task.name not in before or task.name not in after:
            continue
        current_result, new_result = (next(iter(results[task.name].values())) for results in (before, after))
        if len(current_result.target) != len(new_result.target) or current_result.target.shape != new_result.target.shape:
            continue
        low, high = paired_interval(METRICS[metric], current_result, new_result, resamples, seed)
        changes.append(Change(task.name, metric, METRICS[metric](current_result), METRICS[metric](new_result), low, high))
    return tuple(changes)
