"""`Declaration`: features, tasks, network and fusion, as every room below the facade reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import Field
from rich.console import Console, ConsoleOptions, RenderResult

from polyrec.balancing.balancer import Balancer
from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.calibration.calibrator import Calibrator
from polyrec.core.errors import UserError, nearest
from polyrec.core.names import TIME_COLUMNS
from polyrec.core.printing import Printed
from polyrec.core.spec import Spec
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.read.wide import WideTable
from polyrec.declaration.summary import features_table, parts, tasks_table
from polyrec.declaration.training import Training
from polyrec.features.derived import Derived
from polyrec.features.feature import Feature
from polyrec.features.id_feature import IdFeature
from polyrec.fusion.add import Add
from polyrec.fusion.fusion import Fusion
from polyrec.networks.mmoe import MMoE
from polyrec.networks.network import Network
from polyrec.ranges.range import Range
from polyrec.rules.rule import Rule
from polyrec.tasks.task import Task


@dataclass(frozen=True)
class Roles:
    """Which columns say who, what and when; None where the declaration has no such thing."""

    user: str | None
    item: str | None
    time: str | None


class Declaration(Printed, Spec):
    """The fields of a recommender, and what follows from them. Its parts are checked against each other by `Recommender`."""

    user: tuple[Feature, ...] = ()
    """What is known of the user, their history included; the first feature of ids is the user's key."""
    item: tuple[Feature, ...] = ()
    """What is known of the item; the first feature of ids is the item's key."""
    features: tuple[Feature, ...] = ()
    """What is known of the row itself."""
    tasks: tuple[Task, ...] = Field(min_length=1)
    """What is learned, all together."""
    network: Network = MMoE()
    """What the tasks share."""
    balancing: Balancer = FixedWeights()
    """How the tasks' losses become one step."""
    calibration: dict[str, Calibrator] = {}
    """Calibrator of each task whose probabilities are to mean what they say. It learns from the validation rows; predictions
    and scores are those that it returns."""
    fusion: Fusion = Add()
    """How the tasks' predictions become one score to rank by."""
    candidates: int | None = Field(default=None, ge=1)
    """How many items the first Retrieval task proposes for the whole model to rank; unset, every item is ranked."""
    rules: tuple[Rule, ...] = ()
    """What makes the list that is shown of the ranked items; empty, the best are shown in order."""
    time: str | None = None
    """Column of the time of a row; unset, `timestamp` or `time` where the table has one of them."""
    relevant: str | None = None
    """SQL condition for the rows whose item counts as relevant when the fused ranking is judged; unset, the label of the first
    Binary task, or every row where there is none."""
    training: Training = Training()
    """How the model is fitted, unless `fit` is told otherwise."""
    search: dict[str, Range] = {}
    """Ranges of settings by dotted path, such as `training.learning_rate`, that `polyrec tune` searches; `fit` ignores them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render features, tasks and parts."""
        yield features_table({"user": self.user, "item": self.item, "row": self.features})
        yield tasks_table(self.tasks)
        yield from parts(network=self.network, balancing=self.balancing, fusion=self.fusion, training=self.training)

    @property
    def all_features(self) -> tuple[Feature, ...]:
        """All features, in the order in which their vectors are laid side by side."""
        return (*self.user, *self.item, *self.features)

    @property
    def views(self) -> dict[str, tuple[frozenset[str], ...]]:
        """The names of the features in each of the views of each task.

        Where a task holds the user against the item, the features of the row itself are in the user's view.
        """
        known = {feature.name for feature in self.all_features}
        user = frozenset(feature.name for feature in (*self.user, *self.features))
        item = frozenset(feature.name for feature in self.item)
        seen: dict[str, tuple[frozenset[str], ...]] = {}
        for task in self.tasks:
            if isinstance(task.inputs, str):
                sides = {"all": frozenset(known), "user": frozenset(f.name for f in self.user), "item": item}
                inputs = sides[task.inputs]
            else:
                for name in task.inputs:
                    if name not in known:
                        raise ValueError(f"task {task.name!r} has no input {name!r}. {nearest(name, known)}")
                named = [f for f in self.all_features if isinstance(f, Derived) and f.name in task.inputs]
                inputs = frozenset((*task.inputs, *(name for feature in named for name in feature.replaces)))
            parts = {"inputs": inputs, "user": user & inputs, "item": item & inputs}
            seen[task.name] = tuple(parts[view] for view in task.views)
            for view, names in zip(task.views, seen[task.name], strict=True):
                if not names:
                    what = f"`inputs` is {task.inputs!r} and that side is empty" if view == "inputs" else f"of the {view}"
                    raise ValueError(f"task {task.name!r} sees no feature: {what}")
        return seen

    def alone(self, name: str) -> Self:
        """Return the declaration of one task alone: features, network, training and the task's own part of the utility stay.

        Of a task that comes after others by a `Product` the label is then that of the whole path: false where an earlier task
        is known not to have happened.
        """
        by_name = {task.name: task for task in self.tasks}
        task = by_name[name]
        utility = {term: weight for term, weight in self.training.utility.items() if term.split(".", 1)[0] == name}
        utility = {} if task.after is not None else utility
        return self.replace(
            tasks=(task.replace(after=None, label=_label_alone(task, by_name)),),
            network=self.network.among([name]),
            balancing=FixedWeights(),
            calibration={key: value for key, value in self.calibration.items() if key == name},
            fusion=Add(),
            candidates=None,
            rules=(),
            search={},
            training=self.training.replace(utility=utility),
        )

    @property
    def reads_log(self) -> bool:
        """Whether any feature reads users' earlier rows."""
        return any(isinstance(feature, Derived) and feature.reads_log for feature in self.all_features)

    @staticmethod
    def key(side: Iterable[Feature]) -> str | None:
        """Return the column of the first feature of ids of a side: Categorical, Hashed or Streamed."""
        return next((feature.columns[0] for feature in side if isinstance(feature, IdFeature)), None)

    def roles(self, frame: WideTable) -> Roles:
        """Find the columns of user, item and time in a training table."""
        time = self.time or next((column for column in TIME_COLUMNS if column in frame.columns), None)
        if self.time is not None:
            require_columns(frame, (self.time,), "the declared `time`")
        if time is None and self.reads_log:
            remedy = "Name the column of the time: Recommender(time=…)."
            found = f"neither of {TIME_COLUMNS} nor a declared `time`"
            raise UserError("a history", expected="a time column", found=found, remedy=remedy)
        return Roles(self.key(self.user), self.key(self.item), time)


def _label_alone(task: Task, by_name: Mapping[str, Task]) -> str:
    """Return the SQL expression of a task's label without the tasks before it."""
    if task.after is None:
        return task.label
    return task.after.label(task.label, [_label_alone(by_name[earlier], by_name) for earlier in task.after.tasks])
