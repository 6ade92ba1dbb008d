"""A new version from a table that went on, published unless it is worse than the current one on the newest rows."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.expressions import require_columns
from polyrec.data.histories import TIME
from polyrec.data.sources import Source
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.evaluate.bootstrap import paired_interval
from polyrec.evaluate.metrics import METRICS
from polyrec.fitted import Fitted
from polyrec.observing import observe
from polyrec.serve.versions import VERSIONS, publish, read_pointer

FEWEST = 100
"""New rows without which there is nothing to judge by."""


@dataclass(frozen=True)
class Change:
    """The headline metric of a task on the newest rows, by the current version and by the new one."""

    task: str
    metric: str
    before: float
    after: float
    low: float
    high: float
    """95 % interval of after minus before, users drawn with replacement."""

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval is on the worse side."""
        return self.high < 0 if METRICS[self.metric].higher_is_better else self.low > 0


@dataclass(frozen=True)
class Refreshed:
    """What came of a refresh."""

    version: str | None
    """The version that answers now; none where the new one was worse."""
    changes: tuple[Change, ...]
    rows: int
    """Rows that both were judged on."""


def refresh(folder: Path, data: Source | Tables, *, resamples: int = 200, seed: int = 0, progress: bool = True) -> Refreshed:
    """Fit the current version's declaration anew on a table that holds its rows and later ones; publish it if it is no worse.

    The rows that are later than all that the current version knows are halved in time: the earlier half is learned with the
    rest, on the later half both versions are judged, which neither has seen. Where the headline metric of any task falls, its
    interval wholly on the worse side, nothing is published.

    Raises `UserError` where rows have no time or fewer than 100 of them are new.
    """
    current = Fitted.load(folder / VERSIONS / read_pointer(folder).current)
    joined = join(data, current.roles.user, current.roles.item)
    learned, newest = _split(current, joined.frame)
    training = current.spec.training
    fitted = current.spec.fit(Tables(learned, joined.users, joined.items), training=training, progress=progress)
    changes = _changes(current, fitted, newest, resamples, seed)
    if any(change.is_worse for change in changes):
        return Refreshed(None, changes, newest.height)
    with tempfile.TemporaryDirectory() as place:
        version = publish(fitted.save(Path(place) / "artifact"), folder)
    return Refreshed(version, changes, newest.height)


def _split(current: Fitted, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows to learn from, and the later half of those that the current version does not know."""
    time = current.roles.time
    if time is None:
        remedy = "Declare the time's column and fit again: Recommender(time=…)."
        raise UserError("a refresh", expected="a recommender of rows with times", found="one without", remedy=remedy)
    require_columns(frame, (time,), "a refresh")
    times_N = read_times(frame[time], current.parts.facts["clock"])[0].to_numpy()
    last = current.catalogue.log.frame[TIME].max()
    new_N = times_N > last
    if new_N.sum() < FEWEST:
        found, remedy = f"{int(new_N.sum())}", "Wait for more, or give the table that goes on."
        raise UserError("new rows", expected=f"{FEWEST} or more, later than all known ones", found=found, remedy=remedy)
    judged_N = times_N > np.median(times_N[new_N])
    return frame.filter(pl.Series(~judged_N)), frame.filter(pl.Series(judged_N))


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
