"""From tables to a `Stage`: learn states and encode columns, one at a time, each in its final storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.artifact.facts import Frames
from polyrec.artifact.parts import Parts
from polyrec.core.batch import Column
from polyrec.data.conditions.expressions import columns_of
from polyrec.data.encoding import complete_labels, encode_features
from polyrec.data.keys import number_groups
from polyrec.data.labels import check_learnable, fit_task, observed_labels, with_numbers
from polyrec.data.log import TIME, USER, Log
from polyrec.data.prepared import Items, Prepared
from polyrec.data.read.wide import WideTable
from polyrec.data.tables import Joined
from polyrec.declaration.declaration import Declaration
from polyrec.features.derived import Derived
from polyrec.features.feature import Feature
from polyrec.features.streamed import Streamed
from polyrec.prepare.stage import Keep, Stage, in_memory, keep_column
from polyrec.prepare.table import Table
from polyrec.rules.rule import check_columns
from polyrec.tasks.task import Task


def prepare(
    spec: Declaration,
    table: Table,
    held: Table | None = None,
    keep: Keep = in_memory,
    keep_held: Keep = in_memory,
    start: Parts | None = None,
) -> Stage:
    """Learn the states from a table; return them with the encoded table and the encoded held-out rows, if any.

    If training continues from a `start`, the table updates the states of `start`.
    """
    features: dict[str, pl.DataFrame] = {}
    columns: dict[str, Column] = {}
    held_columns: dict[str, Column] = {}
    for feature in spec.all_features:
        if isinstance(feature, Derived):
            continue
        values = table.frame.select(feature.columns)
        features[feature.name] = _fit(feature, values, table, None if start is None else start.feature_states[feature.name])
        columns[feature.name] = keep_column(feature.encode(values, features[feature.name]), keep)
        if held is not None:
            values = held.frame.select(feature.columns)
            held_columns[feature.name] = keep_column(feature.encode(values, features[feature.name]), keep_held)
    _fit_derived(spec, features, lambda name: columns[name])
    tasks, observed = {}, {}
    targets: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for task in spec.tasks:
        labels = _labels(task, table, columns)
        check_learnable(labels, task)
        tasks[task.name] = fit_task(task, labels, None if start is None else start.task_states[task.name])
        observed[task.name] = len(observed_labels(labels))
        targets[task.name] = keep(task.targets(labels, tasks[task.name]))
        masks[task.name] = keep(task.observed(labels, tasks[task.name]))
    log = _log(spec, table) if spec.reads_log else None
    columns |= _derived(spec, features, log, table, keep)
    rows = _prepared(spec, table, columns, targets, masks, keep)
    if held is None:
        return Stage(features, tasks, rows, observed)
    held_targets: dict[str, Tensor] = {}
    held_masks: dict[str, Tensor] = {}
    for task in spec.tasks:
        labels = _labels(task, held, held_columns)
        held_targets[task.name] = keep_held(task.targets(labels, tasks[task.name]))
        held_masks[task.name] = keep_held(task.observed(labels, tasks[task.name]))
    if log is not None:
        keys = [name for name in (USER, TIME, table.roles.item) if name is not None]
        log = log.with_rows(held.logged(_log_columns(spec, table)), keys)
    held_columns |= _derived(spec, features, log, held, keep_held)
    held_rows = _prepared(spec, held, held_columns, held_targets, held_masks, keep_held)
    users = keep_held(torch.from_numpy(number_groups(held.rows[USER]))) if USER in held.rows.columns else None
    return Stage(features, tasks, rows, observed, held_rows, users)


def fit_features(spec: Declaration, frame: WideTable) -> dict[str, pl.DataFrame]:
    """Learn the state of each feature; derived features come after the features that they read."""
    plain = [feature for feature in spec.all_features if not isinstance(feature, Derived)]
    states = {feature.name: feature.fit(frame.select(feature.columns)) for feature in plain}
    by_name = {feature.name: feature for feature in plain}
    _fit_derived(spec, states, lambda name: by_name[name].encode(frame.select(by_name[name].columns), states[name]))
    return states


def _fit(feature: Feature, values: pl.DataFrame, table: Table, before: pl.DataFrame | None) -> pl.DataFrame:
    """Learn the state of a feature, or grow the state `before`; a streamed vocabulary reads its ids in time order."""
    if isinstance(feature, Streamed) and TIME in table.rows.columns:
        times = table.rows[TIME]
        return feature.fit(values, times) if before is None else feature.grow(values, before, times)
    return feature.fit(values) if before is None else feature.grow(values, before)


def _labels(task: Task, table: Table, columns: Mapping[str, Column]) -> pl.Series:
    """Return the labels of a task, with the numbers of each row's item if the task learns to predict these."""
    labels = table.labels[task.name]
    if task.numbers_of is None:
        return labels
    numbers_NL = columns[task.numbers_of].take(torch.arange(table.frame.height))
    assert isinstance(numbers_NL, Tensor)
    return with_numbers(labels, numbers_NL)


def _fit_derived(spec: Declaration, states: dict[str, pl.DataFrame], encoded: Callable[[str], Column]) -> None:
    for feature in spec.all_features:
        if isinstance(feature, Derived) and (state := feature.fit_derived(encoded)) is not None:
            states[feature.name] = state


def _prepared(
    spec: Declaration,
    table: Table,
    columns: Mapping[str, Column],
    targets: dict[str, Tensor],
    masks: dict[str, Tensor],
    keep: Keep,
) -> Prepared:
    complete_labels(spec.tasks, targets, masks)
    targets = {name: keep(target) for name, target in targets.items()}
    masks = {name: keep(mask) for name, mask in masks.items()}
    in_order = {feature.name: columns[feature.name] for feature in spec.all_features if feature.name in columns}
    groups = (task.group(targets[task.name]) for task in spec.tasks)
    group = next((numbers for numbers in groups if numbers is not None), None)
    group_N = None if group is None else keep(group.long())
    if not any(task.uniform_negatives for task in spec.tasks):
        return Prepared(in_order, targets, masks, table.frame.height, group_N)
    assert table.roles.item is not None
    items = table.frame.select([table.roles.item])[table.roles.item]
    rows_I = items.arg_unique().sort().cast(pl.Int64).to_torch()
    drawn = {task.name: keep(task.as_negatives(targets[task.name][rows_I])) for task in spec.tasks}
    return Prepared(in_order, targets, masks, table.frame.height, group_N, Items(keep(rows_I), drawn))


def _derived(
    spec: Declaration, states: Mapping[str, pl.DataFrame], log: Log | None, table: Table, keep: Keep
) -> dict[str, Column]:
    """Return the inputs of derived features that have a separate input."""
    names = {feature.name for feature in spec.all_features if isinstance(feature, Derived)}
    columns = encode_features(pl.DataFrame(), spec.all_features, states, log, table.rows, names)
    return {name: keep_column(column, keep) for name, column in columns.items()}


def _log(spec: Declaration, table: Table) -> Log:
    log = table.log(_log_columns(spec, table))
    assert log is not None
    return log


def _log_columns(spec: Declaration, table: Table) -> list[str]:
    """Return the columns that a log needs: the item's key, and the columns that derived features read in earlier rows."""
    by_name = {feature.name: feature for feature in spec.all_features}
    columns = [] if table.roles.item is None else [table.roles.item]
    for feature in spec.all_features:
        if isinstance(feature, Derived) and feature.reads_log:
            columns += feature.log_columns(by_name)
            columns += [name for thing, condition in feature.conditions.items() for name in columns_of(condition, thing)]
    return list(dict.fromkeys(columns))


def kept_frames(spec: Declaration, joined: Joined, table: Table) -> Frames:
    """Return the tables that a fitted recommender keeps: types, log, users and items."""
    log = None
    if table.roles.user is not None:
        columns = _log_columns(spec, table)
        rows = (table.log(columns) or Log(table.logged(columns))).frame
        first = [name for name in (USER, TIME) if name in rows.columns]
        log = rows.select(*first, *columns)
    users = _kept_side(spec.user, joined.users, table, table.roles.user)
    items = _kept_side(spec.item, joined.items, table, table.roles.item)
    if spec.rules:
        assert items is not None
        check_columns(spec.rules, items)
    return Frames(table.frame.clear(), log, users, items)


def _kept_side(
    features: Sequence[Feature], side_table: pl.DataFrame | None, table: Table, key: str | None
) -> pl.DataFrame | None:
    """Return one row per user or item, sorted by key: the side table's columns, else those of its latest row."""
    if key is None:
        return None
    columns = list(dict.fromkeys([key, *(column for feature in features for column in feature.columns)]))
    rows = _latest_rows(table, key)
    latest = pl.DataFrame([table.frame.select([column])[column].gather(rows) for column in columns])
    if side_table is not None:
        others = (column for column in columns if column not in side_table.columns)
        latest = side_table.join(latest.select(key, *others), on=key, how="left")
    return latest.sort(key)


def _latest_rows(table: Table, key: str) -> pl.Series:
    """Return the position of the latest row of each key; among rows of equal time, the last one."""
    rows = pl.DataFrame({"key": table.frame.select([key])[key]}).with_row_index("row")
    if TIME in table.rows.columns:
        rows = rows.with_columns(time=table.rows[TIME]).sort("time", maintain_order=True)
    return rows.drop_nulls("key").unique("key", keep="last", maintain_order=True)["row"]
