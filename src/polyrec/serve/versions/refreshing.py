"""A new version from rows that came later, published unless it is worse than the current one on the newest of them."""

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
"""New rows without which there is nothing to judge by."""

QUARTER = 4
"""What part of the declared epochs training goes on for: one of so many."""


@dataclass(frozen=True)
class Change:
    """The headline metric of a task on the newest rows, by the current version and by the new one."""

    task: str
    metric: str
    before: float
    after: float
    low: float
    high: float
    """95 % interval of after minus before, users drawn with replacement; NaN where no draw has both classes or the like."""

    @property
    def is_judged(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval is on the worse side."""
        return self.high < 0 if METRICS[self.metric].higher_is_better else self.low > 0


@dataclass(frozen=True)
class Refreshed:
    """What came of a refresh."""

    version: str | None
    """The version that answers now; none where the new one was worse or could not be judged."""
    changes: tuple[Change, ...]
    rows: int
    """Rows that both were judged on."""
    reason: str | None = None
    """Why nothing was published; none where something was."""


@dataclass(frozen=True)
class _Parts:
    """The rows of a table: those that the current version knows, and of the later ones an earlier and a later half."""

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
    """Train the current version on with rows that came later, and publish what it becomes if it is no worse.

    The rows are those of a table that holds the known ones and later ones, and the events of a `store`; without a table, the
    known ones are what the version keeps of them. Rows that are later than all that the current version knows are halved in
    time: the earlier half is learned with the rest, on the later half both versions are judged, which neither has seen. Where
    the headline metric of any task falls, its interval wholly on the worse side, nothing is published, and neither where no
    task's metric has an interval on these rows.

    Training goes on from the current weights (`Recommender.fit(start=…)`) over all rows, for a quarter of the declared epochs
    unless `epochs` says other; a tenth of the earlier half, or 50 of its rows if that is more, but half of them at most, says
    which epoch is best and is not learned. With `from_scratch` the declaration is fitted anew.

    Raises `UserError` where rows have no time, fewer than 100 of them are new, or there is no table and the version kept too
    little of its own.
    """
    if data is None and store is None:
        remedy = "Give a table, a store or both."
        raise UserError("a refresh", expected="rows to learn from", found="none", remedy=remedy)
    version = read_pointer(folder).current
    current = Fitted.load(folder / VERSIONS / version)
    if current.roles.time is None:
        remedy = "Declare the time's column and fit again: Recommender(time=…)."
        raise UserError("a refresh", expected="a recommender of rows with times", found="one without", remedy=remedy)
    if store is not None and not current.can_rank:
        remedy = "Give a table alone."
        raise UserError("a refresh from a store", expected="a recommender of users and items", found="another", remedy=remedy)
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
        found, remedy = f"{int(new_N.sum())}", "Wait for more, or give the table that goes on."
        raise UserError("new rows", expected=f"{FEWEST} or more, later than all known ones", found=found, remedy=remedy)
    judged_N = times_N > np.median(times_N[new_N])
    return _Parts(*(frame.filter(pl.Series(mask_N)) for mask_N in (~new_N, new_N & ~judged_N, judged_N)))


def _fit_anew(current: Fitted, table: TableToLearn, parts: _Parts, epochs: int | None, progress: bool) -> Fitted:
    training = current.spec.training if epochs is None else current.spec.training.replace(epochs=epochs)
    return current.spec.fit(table.tables(pl.concat([parts.known, parts.fresh])), training=training, progress=progress)


def _go_on(current: Fitted, table: TableToLearn, parts: _Parts, epochs: int | None, progress: bool) -> Fitted:
    """Train on from the current weights. Rows that choose the epoch are new: the known ones were learned already."""
    training = current.spec.training
    training = training.replace(epochs=-(-training.epochs // QUARTER) if epochs is None else epochs)
    count = parts.fresh.height
    held = np.random.default_rng(training.seed).permutation(count) < min(max(count // 10, FEWEST // 2), count // 2)
    learned = pl.concat([parts.known, parts.fresh.filter(pl.Series(~held))])
    validation = parts.fresh.filter(pl.Series(held))
    return current.spec.fit(table.tables(learned), validation, training, start=current, progress=progress)


def _changes(current: Fitted, fitted: Fitted, newest: pl.DataFrame, resamples: int, seed: int) -> tuple[Change, ...]:
    before, after = observe(current, newest), observe(fitted, newest)
    found = []
    for task in current.spec.tasks:
        metric = next((name for name in task.metrics if name in METRICS), None)
        if metric is None or task.name not in before or task.name not in after:
            continue
        one, other = (next(iter(own[task.name].values())) for own in (before, after))
        if len(one.target) != len(other.target) or one.target.shape != other.target.shape:
            continue
        low, high = paired_interval(METRICS[metric], one, other, resamples, seed)
        found.append(Change(task.name, metric, METRICS[metric](one), METRICS[metric](other), low, high))
    return tuple(found)
