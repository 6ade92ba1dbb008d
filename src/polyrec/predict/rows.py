"""Reading and encoding of a table for the predictions of a fitted recommender."""

from __future__ import annotations

import polars as pl

from polyrec.artifact.parts import Parts
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.encoding import encode_features, require_features
from polyrec.data.log import TIME, USER
from polyrec.data.prepared import Prepared
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.declaration.declaration import Roles
from polyrec.predict.catalogue import Catalogue


def read_rows(parts: Parts, roles: Roles, data: Source | Tables) -> pl.DataFrame:
    """Read a table; columns that it lacks are joined from the users and items of the training."""
    frame = join(data, roles.user, roles.item).frame
    for known, key in ((parts.frames.users, roles.user), (parts.frames.items, roles.item)):
        if known is not None and key in frame.columns:
            known = known.with_columns(pl.col(key).cast(frame.schema[key], strict=False)).drop_nulls(key)
            missing = [column for column in known.columns if column == key or column not in frame.columns]
            frame = frame.join(known.select(missing), on=key, how="left", maintain_order="left")
    return frame


def prepare_rows(catalogue: Catalogue, frame: pl.DataFrame) -> Prepared:
    """Encode the features of a wide table; histories contain the known rows and the table's rows before each row's time."""
    spec, roles = catalogue.spec, catalogue.roles
    require_features(frame, spec.all_features)
    log, rows = None, None
    if spec.reads_log:
        log, rows = catalogue.log, _as_looked_up(catalogue, frame)
        if TIME in rows.columns:
            keys = [name for name in (USER, TIME, roles.item) if name is not None]
            log = log.with_rows(rows.hstack(frame), keys)
    columns = encode_features(frame, spec.all_features, catalogue.parts.feature_states, log, rows)
    return Prepared.of_inputs(columns, frame.height)


def _as_looked_up(catalogue: Catalogue, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the user and, if the table has it, the time of each row, as histories look them up."""
    user, time = catalogue.user_key, catalogue.roles.time
    require_columns(frame, (user,), "histories")
    rows = frame.select(pl.col(user).alias(USER))
    if time in frame.columns:
        times, _ = read_times(frame[time], catalogue.parts.facts.data.clock)
        rows = rows.with_columns(times.alias(TIME))
    return rows
