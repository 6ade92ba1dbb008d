"""Checks between the parts of a declaration, in addition to those of each part. Mistakes are ValueErrors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyrec.calibration.calibrator import Calibrator
from polyrec.core.errors import nearest
from polyrec.core.names import SCORE
from polyrec.data.labels import refuse_leakage
from polyrec.declaration.declaration import Declaration
from polyrec.features.derived import Derived, Scope
from polyrec.features.feature import Feature
from polyrec.features.semantic_ids import SemanticIds
from polyrec.ranges.checks import check_ranges
from polyrec.rules.rule import check_rules
from polyrec.tasks.order import in_order
from polyrec.tasks.task import Task


def check_declaration(spec: Declaration) -> None:
    """Refuse a declaration whose parts are inconsistent."""
    features, tasks = spec.all_features, spec.tasks
    if not features:
        raise ValueError("a recommender needs at least one feature in `user`, `item` or `features`")
    for kind, names in (("feature", [f.name for f in features]), ("task", [t.name for t in tasks])):
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two {kind}s are named {name!r}; give each a different name")
    reserved = {SCORE, spec.key(spec.user), spec.key(spec.item)}
    for task in tasks:
        if task.name in reserved:
            raise ValueError(f"a task cannot be named {task.name!r}: predictions have a column of that name")
    check_references(spec)
    check_links(tasks)
    check_calibration(spec.calibration, tasks)
    check_rules_fit(spec)
    check_fusion_features(spec)
    if spec.search:
        check_ranges(spec.replace(search={}), spec.search)
    spec.fusion.check([task.name for task in tasks if task.is_scalar], [task.name for task in tasks])
    spec.balancing.build([task.name for task in tasks])
    refuse_leakage(tasks, {feature.name: feature for feature in features}, spec.views)


def check_links(tasks: Sequence[Task]) -> None:
    """Refuse links to tasks that are not declared, products of values that are no probabilities, and cycles."""
    by_name = {task.name: task for task in tasks}
    for task in tasks:
        for name in () if task.after is None else task.after.tasks:
            if name not in by_name or name == task.name:
                others = nearest(name, [other for other in by_name if other != task.name])
                raise ValueError(f"task {task.name!r} comes after {name!r}, which is no other task. {others}")
            assert task.after is not None
            task.after.check(task, by_name[name])
            if len(by_name[name].views) > 1 or len(task.views) > 1:
                raise ValueError(f"tasks {task.name!r} and {name!r} cannot be linked: one compares users with items")
    in_order(tasks)


def check_references(spec: Declaration) -> None:
    """Refuse tasks and derived features that read features which are not declared or are of an unsuitable kind."""
    by_name = {feature.name: feature for feature in spec.all_features}
    within = {task.name: task.expressions["group"] for task in spec.tasks if "group" in task.expressions}
    if len(set(within.values())) > 1:
        raise ValueError(
            f"tasks compare rows within different groups: {within}. A batch keeps rows together by one kind of group only: "
            "give these tasks the same `within`."
        )
    for task in spec.tasks:
        if task.is_direct:
            _check_direct(task, spec, by_name)
        if task.uniform_negatives and spec.key(spec.item) is None:
            remedy = "Declare the item's key as a Categorical, or set negatives to 0."
            raise ValueError(f"task {task.name!r} draws items as negatives, but `item` has no key. {remedy}")
        if task.numbers_of is not None:
            known = [feature.name for feature in spec.item if isinstance(feature, SemanticIds)]
            if task.numbers_of not in known:
                remedy = nearest(task.numbers_of, known)
                raise ValueError(f"task {task.name!r} is of {task.numbers_of!r}, which is no SemanticIds of `item`. {remedy}")
    scope = _scope(spec)
    for feature in spec.all_features:
        if isinstance(feature, Derived):
            feature.check(scope)


def _scope(spec: Declaration) -> Scope:
    sides = {"user": spec.user, "item": spec.item, "features": spec.features}
    return Scope(
        features={feature.name: feature for feature in spec.all_features},
        sides={feature.name: side for side, features in sides.items() for feature in features},
        has_user_key=spec.key(spec.user) is not None,
        views=spec.views,
        inputs={task.name: task.inputs if isinstance(task.inputs, tuple) else () for task in spec.tasks},
    )


def check_fusion_features(spec: Declaration) -> None:
    """Refuse a fusion that reads features which are not declared, are part of a derived feature, or depend on the item."""
    replaced = {name for feature in spec.all_features if isinstance(feature, Derived) for name in feature.replaces}
    candidates = [feature for feature in (*spec.user, *spec.features) if feature.name not in replaced]
    known = [feature.name for feature in candidates if not feature.sees_target]
    for name in spec.fusion.features_of():
        if name not in known:
            kind, remedy = type(spec.fusion).__name__, nearest(name, known)
            raise ValueError(f"the fusion {kind} reads {name!r}, no feature of the user or the row alone. {remedy}")


def check_rules_fit(spec: Declaration) -> None:
    """Refuse rules without an item key, rules that exclude each other, and similarity by vectors that no task learns."""
    if spec.rules and spec.key(spec.item) is None:
        raise ValueError("`rules` make lists of items, but `item` has no key. Declare the item's key as a Categorical.")
    check_rules(spec.rules)
    has_vectors = any(task.views == ("user", "item") and task.ranks_catalogue for task in spec.tasks)
    if spec.candidates is not None and not has_vectors:
        raise ValueError("`candidates` needs a Retrieval task, which proposes them: declare one, or leave `candidates` unset")
    for rule in spec.rules:
        if rule.needs_vectors and not has_vectors:
            kind = type(rule).__name__
            raise ValueError(f"rule {kind} compares items by their vectors: declare a Retrieval task, or give it a `column`")


def _check_direct(task: Task, spec: Declaration, by_name: Mapping[str, Feature]) -> None:
    named = task.inputs if isinstance(task.inputs, tuple) else ()
    sides = [[feature.name for feature in side if feature.name in named] for side in ((*spec.user, *spec.features), spec.item)]
    if len(named) != 2 or any(len(names) != 1 for names in sides):
        raise ValueError(f"task {task.name!r} is direct: its `inputs` are two features, one of the user and one of the item")
    widths = {name: by_name[name].width for name in named}
    width = getattr(task, "width", None)
    if set(widths.values()) != {width}:
        raise ValueError(
            f"task {task.name!r}, of width {width}, is direct; its inputs have the widths {widths}: make them equal"
        )
    if spec.network.copies([other.name for other in spec.tasks]) > 1:
        kind = type(spec.network).__name__
        raise ValueError(f"task {task.name!r} is direct, and {kind} has several copies of features. Choose another network.")
    if spec.network.adapters is not None:
        raise ValueError(f"task {task.name!r} is direct: it receives no adapters. Drop them, or `direct`.")


def check_calibration(calibration: Mapping[str, Calibrator], tasks: Sequence[Task]) -> None:
    """Raise `ValueError` if a calibrator's task is not declared or predicts values that the calibrator cannot read."""
    by_name = {task.name: task for task in tasks}
    for name, calibrator in calibration.items():
        kind = type(calibrator).__name__
        if name not in by_name:
            raise ValueError(f"calibration of {name!r}, which is no task. {nearest(name, by_name)}")
        if "log_loss" not in by_name[name].metrics:
            raise ValueError(f"calibration of {name!r}: a {type(by_name[name]).__name__} task predicts no probability")
        if not (by_name[name].is_scalar or calibrator.several):
            remedy = "Use Temperature."
            raise ValueError(f"calibration of {name!r}: {kind} is for one probability a row, not for several. {remedy}")
