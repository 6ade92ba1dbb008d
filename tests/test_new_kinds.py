"""One kind, one file: a link, two derived features and a task with a head of its own, each written outside the package."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

import polyrec
from polyrec import Fitted, Recommender, Training, families
from polyrec.cli.app import app
from polyrec.core.batch import Batch
from polyrec.model.encoders import Encoders
from polyrec.predict.rows import prepare_rows

FILES = {
    "gated": '''
from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.tasks.link import Link, LinkModule, Path, Raw


class Gated(Link):
    """The later task's state is scaled by a gate that the earlier tasks' states open.

    `z = s * sigmoid(W [s_1, ..., s_n] + b)`, with s the later state and s_1 to s_n the earlier ones. Training adds `penalty`
    times the mean square of the raw output.
    """

    examples = ({"tasks": ["like"]}, {"tasks": ["like", "stars"], "penalty": 0.0})

    penalty: float = Field(default=0.01, ge=0)
    """Weight of the squared raw output in the training loss."""

    def build(self, width: int, earlier: Sequence[int]) -> LinkModule:
        return GateModule(width, sum(earlier))

    def training_loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        return loss_B() + self.penalty * raw[path.task].reshape(len(raw[path.task]), -1).square().mean(1)


class GateModule(LinkModule):
    """Scale the later state (B, H) by a gate (B, H)."""

    def __init__(self, width: int, earlier: int) -> None:
        super().__init__()
        self.linear = nn.Linear(earlier, width)

    def forward(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        return state_BH * torch.sigmoid(self.linear(torch.cat(list(earlier_BH), 1)))
''',
    "crossed": '''
from collections.abc import Mapping

from torch import Tensor, nn

from polyrec.features.derived import Derived, DerivedEncoder, Reader, Scope
from polyrec.features.feature import State


class Crossed(Derived):
    """The element-wise product of the vectors of two other features, `v = L(a) * R(b)`, with linear maps L and R.

    It is declared in `features`, for it may depend on the user and on the item. State: none.
    """

    examples = ({"name": "match", "first": "user_id", "second": "item_id", "width": 4},)

    first: str
    """Name of one feature."""
    second: str
    """Name of the other feature."""

    @property
    def reads(self) -> tuple[str, ...]:
        return self.first, self.second

    @property
    def ids(self) -> tuple[str, ...]:
        return self.reads

    @property
    def sees_target(self) -> bool:
        return True

    def check(self, scope: Scope) -> None:
        super().check(scope)
        if scope.sides[self.name] != "features":
            raise ValueError(f"crossed {self.name!r} belongs in `features`")

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> DerivedEncoder:
        return CrossedEncoder(self.reads, [widths[name] for name in self.reads], self.width)


class CrossedEncoder(DerivedEncoder):
    """Multiply the mapped vectors of the features that are read."""

    def __init__(self, names: tuple[str, ...], inputs: list[int], width: int) -> None:
        super().__init__()
        self.names = names
        self.left, self.right = (nn.Linear(size, width) for size in inputs)

    def forward(self, reader: Reader) -> Tensor:
        first, second = (reader.vectors(name) for name in self.names)
        return self.left(first) * self.right(second)
''',
    "frequency": '''
from collections.abc import Callable, Mapping

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Column, Dense
from polyrec.features.derived import Derived, DerivedEncoder, Features, Past, Reader, Scope
from polyrec.features.feature import Feature, State


class Frequency(Derived):
    """How many earlier rows the user has, n, as a linear map of `log(1 + n)`.

    Rows of the same instant are not earlier. The user needs a key. State: none.
    """

    examples = ({"name": "activity"}, {"name": "likes", "where": "rating >= 4", "most": 5, "width": 4})

    where: str | None = None
    """SQL condition on the earlier rows that count."""
    most: int = Field(default=1000, gt=0)
    """Largest count."""

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    @property
    def reads_log(self) -> bool:
        return True

    @property
    def conditions(self) -> Mapping[str, str]:
        return {self._thing: self.where} if self.where else {}

    @property
    def _thing(self) -> str:
        return f"condition of the frequency {self.name!r}"

    def check(self, scope: Scope) -> None:
        if scope.sides[self.name] != "user" or not scope.has_user_key:
            raise ValueError(f"frequency {self.name!r} belongs in `user`, next to the user's key")

    def column(
        self, features: Features, states: Mapping[str, State], log: Past | None, rows: pl.DataFrame | None
    ) -> Column:
        assert log is not None and rows is not None
        _, counts = log.where(self.where, self._thing).positions(rows, self.most)
        return Dense(counts)

    def extended(
        self, column: Column, row: int, events: Past, features: Features, elements: Callable[[Feature, Tensor], Column]
    ) -> Column:
        assert isinstance(column, Dense)
        later = len(events.matches(self.where, self._thing))
        return Dense((column.values_N[row : row + 1] + later).clamp(max=self.most))

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> DerivedEncoder:
        return FrequencyEncoder(self.name, self.width)


class FrequencyEncoder(DerivedEncoder):
    """Map counts (B,) to vectors (B, width)."""

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.name, self.linear = name, nn.Linear(1, width)

    def forward(self, reader: Reader) -> Tensor:
        counts_B = reader.input(self.name)
        assert isinstance(counts_B, Tensor)
        return self.linear(torch.log1p(counts_B.float())[:, None])
''',
    "affinity": '''
import torch
from torch import Tensor, nn

from polyrec.tasks.binary import Binary
from polyrec.tasks.head import Head
from polyrec.tasks.task import State


class Affinity(Binary):
    """A probability from a bilinear form of the user's and the item's hidden state, `p = sigmoid(u W v + b)`.

    Labels, loss and prediction are those of Binary; `tower` and `dropout` are not read.
    """

    examples = ({"name": "fits", "label": "rating >= 4"},)
    views = ("user", "item")

    def build(self, width: int, state: State) -> Head:
        return BilinearHead(width)


class BilinearHead(Head):
    """Map the hidden states (B, H) of the user and of the item to logits (B,); the state holds both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.bilinear = 2 * width, nn.Bilinear(width, width, 1)

    def state(self, *hidden_BH: Tensor) -> Tensor:
        return torch.cat(hidden_BH, 1)

    def output(self, state_BS: Tensor) -> Tensor:
        user_BH, item_BH = state_BS.chunk(2, 1)
        return self.bilinear(user_BH.contiguous(), item_BH.contiguous()).squeeze(1)
''',
}
KINDS = {"Gated": "links", "Crossed": "features", "Frequency": "features", "Affinity": "tasks"}
"""The family of each kind."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file a kind."""
    folder = tmp_path_factory.mktemp("new_kinds")
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def new(folder: Path) -> Iterator[SimpleNamespace]:
    """Import the files; afterwards, no family contains their kinds any longer."""
    with pytest.MonkeyPatch.context() as patch:
        for base in families().values():
            patch.setattr(base, "_kinds", dict(base._kinds))
        patch.syspath_prepend(folder)
        yield SimpleNamespace(**{name.capitalize(): getattr(import_module(name), name.capitalize()) for name in FILES})
    for name in FILES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def spec(new: SimpleNamespace, small: Recommender) -> Recommender:
    """A recommender with every new kind."""
    like, stars, interest = small.tasks
    fits = new.Affinity(name="fits", label="rating >= 4", inputs=("user_id", "age", "liked", "item_id"))
    return small.replace(
        user=(*small.user, new.Frequency(name="activity", width=8)),
        features=(new.Crossed(name="match", first="user_id", second="item_id", width=8),),
        tasks=(like, stars.replace(after=new.Gated(tasks=("like",))), interest, fits),
        training=Training(epochs=2, batch_size=256, learning_rate=0.01),
    )


@pytest.fixture(scope="module")
def fitted(spec: Recommender, world: pl.DataFrame) -> Fitted:
    return spec.fit(world[:2000], progress=False)


@pytest.fixture(scope="module")
def loaded(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return polyrec.load(fitted.save(tmp_path_factory.mktemp("artifact") / "artifact"))


def test_yaml_round_trip(spec: Recommender):
    text = spec.to_yaml()
    assert all(f"kind: {kind}\n" in text for kind in KINDS)
    assert Recommender.from_yaml(text) == spec
    assert Recommender.from_yaml(text).to_yaml() == text


@pytest.mark.usefixtures("new")
def test_the_json_schema_lists_them():
    definitions = polyrec.json_schema(Recommender)["$defs"]
    for kind, family in KINDS.items():
        assert {"$ref": f"#/$defs/{family}.{kind}"} in definitions[family]["anyOf"]
        assert definitions[f"{family}.{kind}"]["properties"]["kind"] == {"const": kind}


@pytest.mark.usefixtures("new")
def test_kinds_lists_them():
    result = CliRunner().invoke(app, ["kinds", "--json"])
    assert result.exit_code == 0
    listed = json.loads(result.output)
    for kind, family in KINDS.items():
        assert kind in polyrec.kinds(family)
        assert kind in listed[family]


def test_they_keep_the_contracts(folder: Path, run_contracts: Callable[..., dict[str, int]]):
    passed = run_contracts(folder, FILES, KINDS)
    assert passed["Gated"] >= 18 and passed["Affinity"] >= 40
    assert passed["Crossed"] >= 12 and passed["Frequency"] >= 15


def test_a_reference_to_an_unknown_feature_is_refused(spec: Recommender, new: SimpleNamespace):
    with pytest.raises(ValidationError, match="Crossed 'match' reads 'nobody', which is no other feature"):
        spec.replace(features=(new.Crossed(name="match", first="user_id", second="nobody"),))
    pair = tuple(new.Crossed(name=name, first="user_id", second=other) for name, other in (("a", "b"), ("b", "a")))
    with pytest.raises(ValidationError, match="Crossed 'a' reads itself through 'b'"):
        spec.replace(features=pair)


def test_predictions_are_equal_after_load(fitted: Fitted, loaded: Fitted, world: pl.DataFrame):
    rows = world[2000:2500]
    predictions = fitted.predict(rows)
    assert {"like", "stars", "fits"} <= set(predictions.columns)
    assert loaded.predict(rows).equals(predictions)
    assert loaded.spec == fitted.spec


def test_recommendations_are_equal_after_load(fitted: Fitted, loaded: Fitted, world: pl.DataFrame):
    user = world["user_id"][0]
    events = world.filter(pl.col("user_id") != user)[-3:].with_columns(timestamp=10_000).drop("user_id")
    for arguments in ({}, {"events": events}):
        assert loaded.recommend(user_id=user, k=5, **arguments).equals(fitted.recommend(user_id=user, k=5, **arguments))


def test_every_new_part_learns(fitted: Fitted, spec: Recommender, world: pl.DataFrame):
    """Each part has parameters, and training has moved them all."""
    one_epoch = spec.replace(training=spec.training.replace(epochs=1)).fit(world[:2000], progress=False)
    before, after = (dict(model.catalogue.model.named_parameters()) for model in (one_epoch, fitted))
    for part in ("links.of_stars.", "derived.of_match.", "derived.of_activity.", "heads.of_fits."):
        names = [name for name in after if part in name]
        assert names
        assert not any(torch.equal(before[name], after[name]) for name in names)


def test_a_frequency_counts_earlier_rows_and_events(fitted: Fitted, world: pl.DataFrame):
    rows = world[2000:2100]
    column = prepare_rows(fitted.catalogue, rows).columns["activity"]
    counts = column.take(torch.arange(len(rows)))
    both = world[:2100]
    expected = [
        both.filter(pl.col("user_id") == user, pl.col("timestamp") < time).height
        for user, time in rows.select("user_id", "timestamp").iter_rows()
    ]
    assert counts.tolist() == expected


def test_a_crossed_id_is_dropped_once_a_batch(spec: Recommender, world: pl.DataFrame):
    """An id that the batch reads as unseen does not show through a feature that reads it."""
    features = (*spec.user[:2], *spec.item, *spec.features)
    features = [f.replace(id_dropout=0.5) if f.name == "user_id" else f for f in features]
    states = {f.name: f.fit(world.select(f.columns)) for f in features[:3]}
    encoders = Encoders(features, states)
    inputs = {f.name: f.encode(world.select(f.columns), states[f.name]).take(torch.arange(200)) for f in features[:3]}
    vectors = encoders(Batch(inputs, {}, {}, 200))
    start = {name: sum(list(encoders.fields.values())[:place]) for place, name in enumerate(encoders.fields)}
    user, item, match = (vectors[:, start[name] : start[name] + 8] for name in ("user_id", "item_id", "match"))
    crossed = encoders.derived["match"]
    torch.testing.assert_close(match, crossed.left(user) * crossed.right(item))


def test_a_task_sees_all_that_a_feature_reads(spec: Recommender, new: SimpleNamespace):
    """Else a column of the label could be read through the feature, and a vector of the user could depend on the item."""
    like = spec.tasks[0].replace(inputs=("user_id", "match"))
    with pytest.raises(ValidationError, match="task 'like' sees Crossed 'match' but not 'item_id', which it reads"):
        spec.replace(tasks=(like, *spec.tasks[1:]))
    with pytest.raises(ValidationError, match="task 'fits' sees Crossed 'match' but not 'item_id'"):
        spec.replace(tasks=(*spec.tasks[:3], new.Affinity(name="fits", label="rating >= 4")))
    with pytest.raises(ValidationError, match="depends on more than the item. Declare it in `user`"):
        spec.replace(features=(), item=(*spec.item, *spec.features), tasks=spec.tasks[:3])
