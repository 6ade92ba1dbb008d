"""`Recommender`: the whole declaration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from polyrec.balancing.balancer import Balancer
from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.calibrating import check_calibration
from polyrec.calibration.calibrator import Calibrator
from polyrec.checks import check_fusion_features, check_links, check_references, check_rules_fit
from polyrec.core.errors import UserError, nearest
from polyrec.core.names import SCORE, TIME_COLUMNS
from polyrec.core.spec import Spec
from polyrec.data.expressions import require_columns
from polyrec.data.labels import refuse_leakage
from polyrec.data.sources import Source
from polyrec.data.tables import Tables
from polyrec.data.wide import WideTable
from polyrec.features.feature import Feature
from polyrec.features.history import History
from polyrec.features.id_feature import _IdFeature
from polyrec.features.joint import Joint
from polyrec.fusion.add import Add
from polyrec.fusion.fusion import Fusion
from polyrec.networks.mmoe import MMoE
from polyrec.networks.network import Network
from polyrec.ranges.checks import check_ranges
from polyrec.ranges.range import Range
from polyrec.rules.rule import Rule
from polyrec.tasks.product import Product
from polyrec.tasks.task import Task
from polyrec.train.training import Training

if TYPE_CHECKING:
    from polyrec.fitted import Fitted
    from polyrec.train.loop import OnEpoch


@dataclass(frozen=True)
class Roles:
    """Which columns say who, what and when; None where the declaration has no such thing."""

    user: str | None
    item: str | None
    time: str | None


class Recommender(Spec):
    """Features, tasks, a shared network and a fusion: what `fit` turns into a `Fitted`.

    A recommender for users who meet items has `user` and `item` features, the first of ids (Categorical, Hashed, Streamed) of
    each being the key. Rows that are something else (a loan, a patient) have `features` alone; beside the two sides `features`
    are those of the encounter (an hour, a device).
    """

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        features, tasks = self.all_features, self.tasks
        if not features:
            raise ValueError("a recommender needs at least one feature in `user`, `item` or `features`")
        for kind, names in (("feature", [f.name for f in features]), ("task", [t.name for t in tasks])):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"two {kind}s are named {name!r}; give each its own name")
        reserved = {SCORE, self.key(self.user), self.key(self.item)}
        for task in tasks:
            if task.name in reserved:
                raise ValueError(f"a task cannot be named {task.name!r}: predictions have a column of that name")
        by_name = {feature.name: feature for feature in features}
        check_references(self)
        check_links(tasks)
        check_calibration(self.calibration, tasks)
        check_rules_fit(self)
        check_fusion_features(self)
        if self.search:
            check_ranges(self.replace(search={}), self.search)
        self.fusion.check([task.name for task in tasks if task.is_scalar], [task.name for task in tasks])
        self.balancing.build([task.name for task in tasks])
        refuse_leakage(tasks, by_name, self.views)
        return self

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
                joints = [joint for joint in self.all_features if isinstance(joint, Joint) and joint.name in task.inputs]
                inputs = frozenset((*task.inputs, *(name for joint in joints for name in joint.parts)))
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
            tasks=(task.replace(after=None, label=_label_of_path(task, by_name)),),
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
    def has_history(self) -> bool:
        """Whether any feature is a history."""
        return any(isinstance(feature, History) for feature in self.all_features)

    @staticmethod
    def key(side: Iterable[Feature]) -> str | None:
        """Return the column of the first feature of ids of a side: Categorical, Hashed or Streamed."""
        return next((feature.columns[0] for feature in side if isinstance(feature, _IdFeature)), None)

    def roles(self, frame: WideTable) -> Roles:
        """Find the columns of user, item and time in a training table."""
        time = self.time or next((column for column in TIME_COLUMNS if column in frame.columns), None)
        if self.time is not None:
            require_columns(frame, (self.time,), "the declared `time`")
        if time is None and self.has_history:
            remedy = "Name the column of the time: Recommender(time=…)."
            found = f"neither of {TIME_COLUMNS} nor a declared `time`"
            raise UserError("a history", expected="a time column", found=found, remedy=remedy)
        return Roles(self.key(self.user), self.key(self.item), time)

    def fit(
        self,
        data: Source | Tables,
        validation: Source | None = None,
        training: Training | None = None,
        *,
        start: Fitted | None = None,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        on_epoch: OnEpoch | None = None,
    ) -> Fitted:
        """Learn from a table and return what can predict, recommend, explain and be saved.

        `data` is a path, a glob, a frame, a `Query`, or `Tables` with side tables. Without `validation` rows,
        `training.split` takes them from `data`. With a `checkpoint` folder the training can be resumed after an interruption
        and ends with the weights of an uninterrupted one; the folder is left for the caller to remove. `on_epoch` is told the
        number of each epoch and its training losses and validation metrics; an exception that it raises ends the training.

        With a `start`, an earlier fit of the same features, network and tasks, training goes on from its weights. `data` then
        is the table that went on, known rows and later ones: the vocabularies become those of it, in which known ids keep what
        was learned of them, whatever their number, and new ones begin as the row that stood for unknown ids. Scales, edges,
        classes and what is done to texts' vectors stay as they were. Give `validation` rows that the start has not learned:
        those that a split draws from known rows flatter it.

        Raises `UserError` where the data does not fit the declaration, or the declaration the start.
        """
        from polyrec.fitting import fit

        return fit(
            self,
            data,
            validation,
            training or self.training,
            start=start,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            resume=resume,
            progress=progress,
            on_epoch=on_epoch,
        )

    def prepare(self, data: Source | Tables, validation: Source | None = None, training: Training | None = None) -> Path:
        """Prepare Parquet files on disk for a `fit` of the same data and split, which then starts at once; return the folder.

        The rows are turned into numbers column by column, so that a table larger than memory can be prepared. `fit` prepares
        larger tables by itself, and finds what was prepared by what it depends on: the content of the files, what features and
        tasks read, and the split. Prepared tables lie in the cache; the least recently used go first.

        Raises `UserError` where the data does not fit the declaration, or is not Parquet.
        """
        from polyrec.compiling import Stages

        return Stages(self, data, validation, training or self.training, ahead=True).folder()


def _label_of_path(task: Task, by_name: Mapping[str, Task]) -> str:
    label = task.label
    for earlier in task.after.tasks if isinstance(task.after, Product) else ():
        before = _label_of_path(by_name[earlier], by_name)
        label = f"CASE WHEN CAST(({before}) AS BOOLEAN) = FALSE THEN FALSE ELSE CAST(({label}) AS BOOLEAN) END"
    return label
