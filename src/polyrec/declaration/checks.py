"""What must hold between the parts of a declaration, beyond what each part checks of itself. Mistakes are ValueErrors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyrec.calibration.calibrator import Calibrator
from polyrec.core.errors import nearest
from polyrec.core.names import SCORE
from polyrec.data.labels import refuse_leakage
from polyrec.declaration.declaration import Declaration
from polyrec.features.categorical import Categorical
from polyrec.features.feature import Feature
from polyrec.features.history import History
from polyrec.features.id_feature import _IdFeature
from polyrec.features.joint import Joint
from polyrec.features.light_gcn import LightGCN
from polyrec.features.semantic_ids import SemanticIds
from polyrec.ranges.checks import check_ranges
from polyrec.rules.rule import check_rules
from polyrec.tasks.binary import Binary
from polyrec.tasks.order import in_order
from polyrec.tasks.product import Product
from polyrec.tasks.task import Task


def check_declaration(spec: Declaration) -> None:
    """Refuse a declaration whose parts do not fit each other."""
    features, tasks = spec.all_features, spec.tasks
    if not features:
        raise ValueError("a recommender needs at least one feature in `user`, `item` or `features`")
    for kind, names in (("feature", [f.name for f in features]), ("task", [t.name for t in tasks])):
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two {kind}s are named {name!r}; give each its own name")
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
    """Refuse links to no other task, products of what are no probabilities, and circles."""
    by_name = {task.name: task for task in tasks}
    for task in tasks:
        for name in () if task.after is None else task.after.tasks:
            if name not in by_name or name == task.name:
                others = nearest(name, [other for other in by_name if other != task.name])
                raise ValueError(f"task {task.name!r} comes after {name!r}, which is no other task. {others}")
            if isinstance(task.after, Product) and not (isinstance(task, Binary) and isinstance(by_name[name], Binary)):
                remedy = "Make both Binary, or use Transfer."
                raise ValueError(f"task {task.name!r} comes after {name!r} by a Product, which is of probabilities. {remedy}")
            if len(by_name[name].views) > 1 or len(task.views) > 1:
                raise ValueError(f"tasks {task.name!r} and {name!r} cannot be linked: one holds users against items")
    in_order(tasks)


def check_references(spec: Declaration) -> None:
    """Refuse histories and graphs of features that are not there or cannot serve."""
    by_name = {feature.name: feature for feature in spec.all_features}
    within = {task.name: task.expressions["group"] for task in spec.tasks if "group" in task.expressions}
    if len(set(within.values())) > 1:
        raise ValueError(
            f"tasks compare rows within different groups: {within}. A batch can hold the rows of one kind of group together: "
            "give these tasks the same `within`."
        )
    for task in spec.tasks:
        if task.is_direct:
            _check_direct(task, spec, by_name)
        if task.uniform_negatives and spec.key(spec.item) is None:
            remedy = "Declare the item's key as a Categorical, or set negatives to 0."
            raise ValueError(f"task {task.name!r} draws items as negatives, but `item` has no key. {remedy}")
        if task.numbers_of is not None:
            named = {feature.name: feature for feature in spec.item if isinstance(feature, SemanticIds)}
            if task.numbers_of not in named:
                remedy = nearest(task.numbers_of, named)
                raise ValueError(f"task {task.name!r} is of {task.numbers_of!r}, which is no SemanticIds of `item`. {remedy}")
    for feature in spec.all_features:
        if isinstance(feature, History):
            _check_history(feature, spec, by_name)
        if isinstance(feature, LightGCN):
            _check_graph(feature, spec, by_name)
        if isinstance(feature, Joint):
            _check_joint(feature, spec, by_name)


def check_fusion_features(spec: Declaration) -> None:
    """Refuse a fusion that reads features which are not there, have no vectors of their own, or depend on the item."""
    parts = {name for own in spec.all_features if isinstance(own, Joint) for name in own.parts}
    beside = [own for own in (*spec.user, *spec.features) if own.name not in parts]
    known = [own.name for own in beside if not (isinstance(own, History) and own.pooling.sees_target)]
    for name in spec.fusion.features_of():
        if name not in known:
            kind, remedy = type(spec.fusion).__name__, nearest(name, known)
            raise ValueError(f"the fusion {kind} reads {name!r}, no feature of the user or the row alone. {remedy}")


def check_rules_fit(spec: Declaration) -> None:
    """Refuse rules without items to list, rules that exclude each other, and likeness by vectors that no task learns."""
    if spec.rules and spec.key(spec.item) is None:
        raise ValueError("`rules` make lists of items, but `item` has no key. Declare the item's key as a Categorical.")
    check_rules(spec.rules)
    has_vectors = any(task.views == ("user", "item") and task.ranks_catalogue for task in spec.tasks)
    if spec.candidates is not None and not has_vectors:
        raise ValueError("`candidates` are those that a Retrieval task proposes: declare one, or rank every item")
    for rule in spec.rules:
        if rule.needs_vectors and not has_vectors:
            kind = type(rule).__name__
            raise ValueError(f"rule {kind} compares items by their vectors: declare a Retrieval task, or give it a `column`")


def _check_history(history: History, spec: Declaration, by_name: Mapping[str, Feature]) -> None:
    thing = f"history {history.name!r}"
    if isinstance(by_name.get(history.of), History | LightGCN | None):
        options = [name for name, feature in by_name.items() if not isinstance(feature, History | LightGCN)]
        raise ValueError(f"{thing} is of {history.of!r}, which is no such feature. {nearest(history.of, options)}")
    if history not in spec.user or spec.key(spec.user) is None:
        raise ValueError(f"{thing} belongs in `user`, beside a Categorical that is the user's key")
    if not history.pooling.sees_target:
        return
    for task in spec.tasks:
        if any(history.name in view and history.of not in view for view in spec.views[task.name]):
            raise ValueError(
                f"task {task.name!r} may see the {thing} but not {history.of!r}, which its pooling holds the history "
                "against. Choose another pooling, or other `inputs` for the task."
            )


def _check_graph(graph: LightGCN, spec: Declaration, by_name: Mapping[str, Feature]) -> None:
    thing = f"graph {graph.name!r}"
    sides = {feature.name: side for side, features in (("user", spec.user), ("item", spec.item)) for feature in features}
    for name in (graph.of, graph.to):
        found = by_name.get(name)
        if not isinstance(found, Categorical) or name not in sides:
            options = [key for key in sides if isinstance(by_name[key], Categorical)]
            raise ValueError(f"{thing} needs {name!r} as a Categorical of user or item. {nearest(name, options)}")
        if found.width != graph.width:
            raise ValueError(f"{thing} has width {graph.width} and {name!r} width {found.width}: they must be equal")
    if sides.get(graph.name) != sides[graph.of] or sides[graph.of] == sides[graph.to]:
        raise ValueError(f"{thing} belongs on the side of {graph.of!r}, and {graph.to!r} on the other side")


def _check_joint(joint: Joint, spec: Declaration, by_name: Mapping[str, Feature]) -> None:
    thing = f"joint {joint.name!r}"
    side = next(own for own in (spec.user, spec.item, spec.features) if joint in own)
    beside = [feature.name for feature in side if feature is not joint]
    ids = [name for name in beside if isinstance(by_name[name], Categorical)]
    if joint.id not in ids:
        raise ValueError(f"{thing} needs {joint.id!r} as a Categorical of its own side. {nearest(joint.id, ids)}")
    content = [name for name in beside if not isinstance(by_name[name], _IdFeature | History | LightGCN | Joint)]
    if joint.content not in content:
        raise ValueError(f"{thing} needs {joint.content!r} as content of its own side. {nearest(joint.content, content)}")
    for other in spec.all_features:
        shared = set(joint.parts).intersection(other.parts) if isinstance(other, Joint) and other is not joint else set()
        if shared:
            raise ValueError(f"{shared.pop()!r} is part of {thing} and of {other.name!r}; declare it once for each")
    for task in spec.tasks:
        named = [name for name in joint.parts if name in task.inputs] if isinstance(task.inputs, tuple) else []
        if named:
            raise ValueError(f"task {task.name!r} has the input {named[0]!r}, which is part of the {thing}. Name the joint.")


def _check_direct(task: Task, spec: Declaration, by_name: Mapping[str, Feature]) -> None:
    named = task.inputs if isinstance(task.inputs, tuple) else ()
    sides = [[own.name for own in features if own.name in named] for features in ((*spec.user, *spec.features), spec.item)]
    if len(named) != 2 or any(len(own) != 1 for own in sides):
        raise ValueError(f"task {task.name!r} is direct: its `inputs` are two features, one of the user and one of the item")
    widths = {name: by_name[name].width for name in named}
    width = getattr(task, "width", None)
    if set(widths.values()) != {width}:
        raise ValueError(
            f"task {task.name!r}, of width {width}, is direct; its inputs have the widths {widths}: make them equal"
        )
    if spec.network.copies([own.name for own in spec.tasks]) > 1:
        kind = type(spec.network).__name__
        raise ValueError(f"task {task.name!r} is direct, and {kind} has several copies of features. Choose another network.")
    if spec.network.adapters is not None:
        raise ValueError(f"task {task.name!r} is direct: it hears no adapters. Drop them, or `direct`.")


def check_calibration(calibration: Mapping[str, Calibrator], tasks: Sequence[Task]) -> None:
    """Raise `ValueError` where a calibrator is declared for a task that there is not, or whose predictions it cannot read."""
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
