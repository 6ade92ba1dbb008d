"""The rows of a text report: rows to learn from, and test rows in slices by their items and users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from polyrec.compare.fits.tables import rows_of, test_split
from polyrec.core.errors import UserError
from polyrec.core.frames import frame_hash
from polyrec.data.labels import label_columns
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables, join
from polyrec.features.feature import Feature
from polyrec.recommender import Recommender

ALL, WARM, TAIL, COLD, NEW = "all", "warm items", "tail items", "cold items", "new users"


@dataclass(frozen=True)
class TextRows:
    """Rows to learn from, and test rows."""

    learn: Tables
    """Tables to learn from."""
    slices: Mapping[str, pl.DataFrame]
    """Test rows by slice; the slice `all` has all of them."""
    facts: Mapping[str, float]
    """Number of rows to learn from and of test rows by slice."""

    @cached_property
    def hashes(self) -> list[str]:
        """Hashes of all tables."""
        learn = (self.learn.interactions, self.learn.users, self.learn.items)
        return [frame_hash(table) for table in (*learn, *self.slices.values()) if isinstance(table, pl.DataFrame)]


def split_rows(
    spec: Recommender,
    data: Source | Tables,
    *,
    test_share: float,
    cold_share: float,
    new_share: float,
    tail: int,
    seed: int = 0,
) -> TextRows:
    """Hold out test rows by the split of the declaration, and all rows of some items and of some users.

    Held-out items are cold: no fit sees their rows, but all fits have their texts. Held-out users are new. Test rows of all
    other items are in the tail if the item has at most `tail` rows to learn from, and warm otherwise.
    """
    user, item = spec.key(spec.user), spec.key(spec.item)
    joined = join(data, user, item)
    frame = joined.frame
    test = test_split(spec, test_share).held_out(rows_of(spec, frame), seed)
    generator = np.random.default_rng(seed)
    cold, new = (_drawn(frame, key, share, generator) for key, share in ((item, cold_share), (user, new_share)))
    learn, held = frame.filter(~test & ~cold & ~new), frame.filter(test)
    cold, new = cold.filter(test), new.filter(test)
    if learn.height == 0 or held.height == 0:
        found = f"{learn.height} rows to learn from and {held.height} to test on"
        raise UserError("a text report", expected="at least one of each", found=found, remedy="Hold out less.")
    slices = {ALL: held}
    if item is not None:
        counts = learn.group_by(item).len("rows")
        seen = held.select(item).join(counts, on=item, how="left", maintain_order="left")["rows"].fill_null(0)
        cold = cold | (seen == 0)
        known = ~cold & ~new
        slices |= {WARM: held.filter(known & (seen > tail)), TAIL: held.filter(known & (seen <= tail))}
        slices[COLD] = held.filter(cold & ~new)
    if user is not None:
        slices[NEW] = held.filter(new)
    users = _known_of(spec, spec.user, frame, joined.users, user)
    items = _known_of(spec, spec.item, frame, joined.items, item)
    of_sides = {
        name for side, key in ((users, user), (items, item)) if side is not None for name in side.columns if name != key
    }
    tables = Tables(learn.drop(of_sides), users, items)
    facts = {"rows to learn from": learn.height, **{name: rows.height for name, rows in slices.items()}}
    return TextRows(tables, {name: rows for name, rows in slices.items() if rows.height}, facts)


def _drawn(frame: pl.DataFrame, key: str | None, share: float, generator: np.random.Generator) -> pl.Series:
    """Return a mask of the rows of some values of a key, drawn at random."""
    if key is None or share == 0:
        return pl.repeat(False, frame.height, eager=True)
    values = frame[key].drop_nulls().unique().sort()
    drawn = values.gather(np.sort(generator.permutation(len(values))[: round(share * len(values))]))
    return frame[key].is_in(drawn.implode()).fill_null(False)


def _known_of(
    spec: Recommender, side: Sequence[Feature], frame: pl.DataFrame, given: pl.DataFrame | None, key: str | None
) -> pl.DataFrame | None:
    """Return the table of all items or users, including held-out ones: as given, or of the columns that never change."""
    if key is None or given is not None:
        return given
    columns = {column for feature in side for column in feature.columns if column != key}
    labels = {column for task in spec.tasks for column in label_columns(task)}
    rows = frame.select(key, *sorted(columns - labels)).drop_nulls(key)
    distinct = rows.group_by(key).agg(pl.all().drop_nulls().n_unique())
    fixed = [name for name in rows.columns if name != key and (distinct[name] <= 1).all()]
    return rows.group_by(key).agg(pl.col(fixed).drop_nulls().first()).sort(key)
