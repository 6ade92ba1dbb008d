"""`Declaration`: the features, tasks, network and fusion of a recommender, without the methods of `Recommender`."""

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
    """Columns of the user, the item and the time of a row; None where the declaration has none."""

    user: str | None
    item: str | None
    time: str | None


class Declaration(Printed, Spec):
    """The fields of a recommender and properties derived from them. `Recommender` checks that they are consistent."""

    user: tuple[Feature, ...] = ()
    """Features of the user, including their history. The first id feature (Categorical, Hashed, Streamed) is the user's key."""
    item: tuple[Feature, ...] = ()
    """Features of the item. The first id feature is the item's key."""
    features: tuple[Feature, ...] = ()
    """Features of the row that belong to neither side, such as the hour or the device."""
    tasks: tuple[Task, ...] = Field(min_length=1)
    """Tasks that the model learns jointly."""
    network: Network = MMoE()
    """Network between the features and the heads of the tasks, which they share."""
    balancing: Balancer = FixedWeights()
    """Method that combines the losses of the tasks into one gradient step."""
    calibration: dict[str, Calibrator] = {}
    """Calibrators by task, fitted on the validation rows after training. Predictions and scores are computed from the
    calibrated probabilities; other tasks are not calibrated."""
    fusion: Fusion = Add()
    """Function that combines the predictions of the tasks into the score by which items are ranked."""
    candidates: int | None = Field(default=None, ge=1)
    """Number of items that the first Retrieval task proposes and the complete model ranks; unset, every item is ranked."""
    rules: tuple[Rule, ...] = ()
    """Rules that select the recommended list from the ranked items; if empty, the list is the items of the highest score."""
    time: str | None = None
    """Column of the time of a row; unset, `timestamp` or `time` if the table has one of them."""
    relevant: str | None = None
    """SQL condition on rows: the item of a row that satisfies it counts as relevant when the fused ranking is evaluated. Unset,
    it is the label of the first Binary task, or every row counts if there is no such task."""
    training: Training = Training()
    """Settings of the training loop; the argument `training` of `fit` replaces them."""
    search: dict[str, Range] = {}
    """Search ranges of `polyrec tune` by dotted path of the setting, such as `training.learning_rate`; `fit` ignores them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render tables of the features and tasks, and a line per part."""
        yield features_table({"user": self.user, "item": self.item, "row": self.features})
        yield tasks_table(self.tasks)
        yield from parts(network=self.network, balancing=self.balancing, fusion=self.fusion, training=self.training)

    @property
    def all_features(self) -> tuple[Feature, ...]:
        """All features, in the order in which their vectors are concatenated."""
        return (*self.user, *self.item, *self.features)

    @property
    def views(self) -> dict[str, tuple[frozenset[str], ...]]:
        """Names of the features in each view of each task.

        If a task compares the user with the item, the features of the row belong to the user's view.
        """
        known = {feature.name for feature in self.all_features}
        user = frozenset(feature.name for feature in (*self.user, *self.features))
        item = frozenset(feature.name for feature in self.item)
        views: dict[str, tuple[frozenset[str], ...]] = {}
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
            names_by_view = {"inputs": inputs, "user": user & inputs, "item": item & inputs}
            views[task.name] = tuple(names_by_view[view] for view in task.views)
            for view, names in zip(task.views, views[task.name], strict=True):
                if not names:
                    reason = f"`inputs` is {task.inputs!r} and that side is empty" if view == "inputs" else f"of the {view}"
                    raise ValueError(f"task {task.name!r} sees no feature: {reason}")
        return views

    def alone(self, name: str) -> Self:
        """Return the declaration of one task alone: features, network, training and the task's terms of the utility remain.

        If the task comes after others by a `Product`, its label becomes that of the complete path: false where an earlier task
        is observed not to have happened.
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
        """Whether any feature reads earlier rows of users."""
        return any(isinstance(feature, Derived) and feature.reads_log for feature in self.all_features)

    @staticmethod
    def key(side: Iterable[Feature]) -> str | None:
        """Return the column of a side's first id feature: Categorical, Hashed or Streamed."""
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
