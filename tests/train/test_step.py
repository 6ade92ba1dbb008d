"""A step is backpropagation of the balance's total: with sparse tables, in low precision, and over two processes.

Shape letters: T tasks.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import distributed, multiprocessing

from polyrec import Binary, Categorical, Fitted, FixedWeights, History, MMoE, Numeric, Recommender, Regression, Training, kinds
from polyrec.balancing.balancer import Balancer
from polyrec.core.errors import UserError
from polyrec.fit.fit import _learn
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.networks.network import Network
from polyrec.networks.pepnet import PEPNet
from polyrec.networks.stem import STEM
from polyrec.prepare.prepare import prepare
from polyrec.prepare.table import read_table
from polyrec.train.gradients import StepGradients
from polyrec.train.ranks import Ranks
from polyrec.train.step import Step

BALANCERS = [
    pytest.param(kind(**example), id=f"{name}{position}")
    for name, kind in kinds("balancers").items()
    for position, example in enumerate(kind.examples)
]


SEVEN = {
    "Binary": {"label": "rating >= 4"},
    "Count": {"label": "rating"},
    "Multiclass": {"label": "rating"},
    "Multilabel": {"label": "genres"},
    "Ordinal": {"label": "rating"},
    "Quantile": {"label": "CASE WHEN rating % 2 = 0 THEN rating END"},
    "Regression": {"label": "rating"},
}
"""A task of every kind whose rows stand alone, but for the one that needs limits."""


def seven_tasks(network: Network | None = None) -> Recommender:
    """Return the declaration with seven tasks of as many kinds, whose gradients are of unlike sizes."""
    tasks = tuple(kinds("tasks")[kind](name=kind.lower(), tower=(4,), **fields) for kind, fields in SEVEN.items())
    return declaration().replace(tasks=tasks, network=network or MMoE(experts=2, hidden=(6,)))


def declaration(balancing: Balancer | None = None) -> Recommender:
    return Recommender(
        user=(Categorical(name="user_id", width=4), History(name="met", of="item_id", length=3, width=4)),
        item=(Categorical(name="item_id", width=4), Numeric(name="age", width=4)),
        tasks=(
            Binary(name="like", label="CASE WHEN rating % 2 = 0 THEN rating >= 4 END", tower=(4,)),
            Regression(name="stars", label="rating", tower=(4,)),
        ),
        network=MMoE(experts=2, hidden=(6,)),
        balancing=balancing or FixedWeights(),
    )


@pytest.fixture(scope="module")
def rows(world: pl.DataFrame) -> pl.DataFrame:
    return world.filter((pl.col("user_id") < 130) & (pl.col("item_id") < 150)).head(600)


def fit(rows: pl.DataFrame, balancing: Balancer | None = None, **training: object) -> Fitted:
    settings = {
        "epochs": 2,
        "batch_size": 100,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "patience": None,
        "tables": "dense",
    } | training
    return declaration(balancing).fit(rows, training=Training(**settings), progress=False)


def weights_of(fitted: Fitted) -> dict[str, torch.Tensor]:
    return dict(fitted.parts.weights)


def assert_same(first: Fitted, second: Fitted, tolerance: float = 1e-5) -> None:
    one, other = weights_of(first), weights_of(second)
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=tolerance, atol=tolerance, msg=f"weights of {name}")


class TestGradients:
    @pytest.fixture
    def step(self, rows: pl.DataFrame) -> tuple[Model, dict[str, torch.Tensor], torch.Tensor]:
        spec = declaration()
        table = read_table(spec, rows)
        learned = _learn(spec, prepare(spec, table), Training(epochs=1), "", None, False, False, "")
        model = learned.model
        data = learned.stage.rows
        batch = data.batch(torch.arange(50))
        x_BD = model.encode(batch)
        found = Objective(spec.tasks).losses(model.decode(x_BD), batch.targets, batch.masks)
        return model, {name: loss.sum() / counts.sum() for name, (loss, counts) in found.items()}, x_BD

    def test_have_the_gramian_of_explicit_gradients(self, step: tuple[Model, dict[str, torch.Tensor], torch.Tensor]):
        model, losses, x_BD = step
        found = StepGradients(losses, x_BD, model.network.last_shared(), Ranks()).gramian(["like", "stars"])
        explicit = [torch.autograd.grad(losses[task], x_BD, retain_graph=True)[0].double() for task in ("like", "stars")]
        for a, first in enumerate(explicit):
            for b, second in enumerate(explicit):
                assert math.isclose(found[a, b].item(), (first * second).sum().item(), rel_tol=1e-9)

    @pytest.mark.parametrize(
        "network", [MMoE(hidden=(6,)), STEM(hidden=(6,)), PEPNet(hidden=(6,))], ids=["MMoE", "STEM", "PEPNet"]
    )
    def test_of_seven_tasks_have_the_gramian_and_norms_of_explicit_gradients(self, rows: pl.DataFrame, network: Network):
        spec = seven_tasks(network)
        table = read_table(spec, rows)
        training = Training(epochs=1, tables="dense", seed=3)
        learned = _learn(spec, prepare(spec, table), training, "", None, False, False, "")
        data = learned.stage.rows
        batch, model = data.batch(torch.arange(50)), learned.model
        x_BD = model.encode(batch)
        found = Objective(spec.tasks).losses(model.decode(x_BD), batch.targets, batch.masks)
        losses = {name: loss.sum() / counts.sum() for name, (loss, counts) in found.items()}
        last, asked = model.network.last_shared(), [task.name for task in spec.tasks][::-1]
        gradients = StepGradients(losses, x_BD, last, Ranks())
        at_boundary = [torch.autograd.grad(losses[task], x_BD, retain_graph=True)[0].double() for task in asked]
        explicit = torch.stack([torch.stack([(one * other).sum() for other in at_boundary]) for one in at_boundary])
        assert (explicit.diagonal() > 0).all() and len(set(explicit.diagonal().tolist())) == len(SEVEN)
        torch.testing.assert_close(gradients.gramian(asked), explicit, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(gradients.gramian(asked[2:5]), explicit[2:5, 2:5], rtol=1e-9, atol=1e-15)
        norms = [
            math.hypot(*(float(part.double().norm()) for part in torch.autograd.grad(losses[task], last, retain_graph=True)))
            for task in asked
        ]
        torch.testing.assert_close(gradients.norms(asked), torch.tensor(norms).double(), rtol=1e-6, atol=0)

    def test_have_norms_in_the_last_shared_layer(self, step: tuple[Model, dict[str, torch.Tensor], torch.Tensor]):
        model, losses, x_BD = step
        found = StepGradients(losses, x_BD, model.network.last_shared(), Ranks()).norms(["stars", "like"])
        for value, task in zip(found, ("stars", "like"), strict=True):
            parts = torch.autograd.grad(losses[task], model.network.last_shared(), retain_graph=True)
            assert math.isclose(value.item(), torch.cat([part.flatten() for part in parts]).norm().item(), rel_tol=1e-6)

    def test_are_linear_in_what_lies_below_the_boundary(self, step: tuple[Model, dict[str, torch.Tensor], torch.Tensor]):
        """The table's gradient of a weighted sum of losses is the weighted sum of what each boundary gradient sends down."""
        model, losses, x_BD = step
        (table,) = [table.weight for table in model.tables()][:1]
        (whole,) = torch.autograd.grad(0.3 * losses["like"] + 2 * losses["stars"], table, retain_graph=True)
        above = [torch.autograd.grad(losses[task], x_BD, retain_graph=True)[0] for task in ("like", "stars")]
        (below,) = torch.autograd.grad(x_BD, table, grad_outputs=0.3 * above[0] + 2 * above[1])
        torch.testing.assert_close(below, whole)


def test_a_weighted_sum_is_plain_backpropagation(rows: pl.DataFrame):
    """One epoch of the loop against torch alone: same rows, same order, same weights after."""
    spec = declaration(FixedWeights(weights={"stars": 0.5}))
    training = Training(epochs=1, batch_size=100, optimizer="sgd", learning_rate=0.1, tables="dense")
    table = read_table(spec, rows)
    trained = _learn(spec, prepare(spec, table), training, "", None, False, False, "")
    untrained = _learn(spec, prepare(spec, table), training.replace(learning_rate=1e-30), "", None, False, False, "")
    model, objective = untrained.model.train(), Objective(spec.tasks)
    data = untrained.stage.rows
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed * 100_003 + 1)
        for rows_B in data.order().split(100):
            batch = data.batch(rows_B)
            found = objective.losses(model(batch), batch.targets, batch.masks)
            means = {name: loss.sum() / counts.sum() for name, (loss, counts) in found.items()}
            optimizer.zero_grad()
            (means["like"] + 0.5 * means["stars"]).backward()
            optimizer.step()
    for (name, one), other in zip(trained.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=f"weights of {name}")


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("balancing", BALANCERS)
def test_sparse_updates_are_dense_updates(rows: pl.DataFrame, balancing: Balancer, optimizer: str):
    dense = fit(rows, balancing, optimizer=optimizer, epochs=1)
    sparse = fit(rows, balancing, optimizer=optimizer, epochs=1, tables="rows")
    assert_same(dense, sparse)


def test_sparse_adam_leaves_untouched_rows_alone(rows: pl.DataFrame):
    """A table's row that no batch touches keeps its first weights, where dense Adam with decay moves it."""
    spec = declaration()
    table = read_table(spec, rows)
    moved = {}
    for sparse in (True, False):
        training = Training(optimizer="adamw", weight_decay=0.1, learning_rate=0.1, tables="rows" if sparse else "dense")
        learned = _learn(spec, prepare(spec, table), training.replace(epochs=1), "", None, False, False, "")
        data = learned.stage.rows
        step = Step(learned.model.train(), Objective(spec.tasks), FixedWeights().build(("like", "stars")), training, Ranks())
        users = learned.model.copies[0].shared["ids/4"].of("user_id")
        before = users.detach().clone()
        step(data, torch.arange(10), 0, 10, probe=False)
        touched = data.batch(torch.arange(10)).inputs["user_id"]
        moved[sparse] = set((users != before).any(1).nonzero().flatten().tolist())
        assert set(touched.tolist()) <= moved[sparse]
    assert moved[True] == set(touched.tolist())
    assert len(moved[False]) == len(before)


@pytest.mark.parametrize("settings", [{"optimizer": "rmsprop"}, {"momentum": 0.9}, {"optimizer": "adam", "weight_decay": 0.1}])
def test_sparse_updates_that_would_move_every_row_are_refused(settings: dict[str, object]):
    with pytest.raises(ValueError, match="every row of a table"):
        Training(tables="rows", **{"optimizer": "sgd"} | settings)


def test_clipping_is_the_same_for_sparse_and_dense(rows: pl.DataFrame):
    assert_same(fit(rows, gradient_clip=0.05), fit(rows, gradient_clip=0.05, tables="rows"))
    assert not np.allclose(fit(rows, gradient_clip=0.05).predict(rows)["stars"], fit(rows).predict(rows)["stars"])


@pytest.mark.parametrize("balancing", BALANCERS)
def test_low_precision_learns_much_the_same(rows: pl.DataFrame, balancing: Balancer):
    settings = {"epochs": 3, "optimizer": "adam", "learning_rate": 0.01}
    exact, rounded = fit(rows, balancing, **settings), fit(rows, balancing, **settings, precision="bfloat16")
    assert all(value.dtype == torch.float32 for value in weights_of(rounded).values())
    before, after = (np.asarray([entry["stars.loss"] for entry in f.curves]) for f in (exact, rounded))
    assert np.isfinite(after).all()
    fall = before[0] - before[-1]
    assert fall > 0.02 < after[0] - after[-1]
    assert abs(before[-1] - after[-1]) < 0.2 * fall


def test_probes_tell_cosines_and_norms(rows: pl.DataFrame):
    entry = fit(rows, probe=2).curves[0]
    assert -1 <= entry["like|stars.cosine"] <= 1
    assert entry["like.gradient_norm"] > 0
    assert entry["stars.gradient_norm"] > 0
    assert not any("cosine" in name for name in fit(rows).curves[0])


def test_probes_change_nothing(rows: pl.DataFrame):
    assert_same(fit(rows), fit(rows, probe=3), tolerance=0)


DRAWING = {"RLW", "PCGrad"}
"""Balancers without a state that draw at random: a resumed training must draw the same."""
RESUMED = [
    param
    for param in BALANCERS
    if type(param.values[0]).__name__ in DRAWING
    or param.values[0].build(("like", "stars")).state_dict().keys() != {"constants_T"}
]


@pytest.mark.parametrize("balancing", RESUMED)
def test_a_resumed_training_is_an_uninterrupted_one(rows: pl.DataFrame, balancing: Balancer, tmp_path: Path):
    spec = declaration(balancing)
    training = Training(epochs=4, batch_size=100, learning_rate=0.01, patience=None)
    whole = spec.fit(rows, training=training, progress=False)

    def stop(epoch: int, entry: object) -> None:
        if epoch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        spec.fit(rows, training=training, progress=False, checkpoint=tmp_path / "c", on_epoch=stop)
    resumed = spec.fit(rows, training=training, progress=False, checkpoint=tmp_path / "c", resume=True)
    assert [entry["utility"] for entry in resumed.curves] == [entry["utility"] for entry in whole.curves]
    assert_same(whole, resumed, tolerance=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of a module of torch's own that compiling loads
def test_a_compiled_network_learns_the_same(rows: pl.DataFrame):
    assert_same(fit(rows, epochs=1, tables="rows"), fit(rows, epochs=1, tables="rows", compile=True), tolerance=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of a module of torch's own that compiling loads
@pytest.mark.parametrize("tables", ["rows", "row_wise_adagrad", "dense"])
def test_compiled_steps_gather_rows_of_tables_and_learn_the_same(rows: pl.DataFrame, tables: str):
    spec = declaration()
    features = [own for own in (*spec.user, *spec.item) if isinstance(own, Categorical)]
    assert len(features) > 1
    tasks = (spec.tasks[0].replace(inputs="user"), *spec.tasks[1:])
    spec = spec.replace(user=features[:1], item=features[1:], tasks=tasks)
    fits = [
        spec.fit(
            rows, training=Training(epochs=1, batch_size=100, tables=tables, compile=compiles, patience=None), progress=False
        )
        for compiles in (False, True)
    ]
    assert_same(*fits, tolerance=1e-4)


def test_compiling_in_bfloat16_is_refused():
    with pytest.raises(ValueError, match="compiled steps compute in float32"):
        Training(compile=True, precision="bfloat16")


def test_compiling_without_a_compiler_is_refused(rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match="none of g\\+\\+, clang"):
        fit(rows, epochs=1, compile=True)


def test_an_epoch_resumed_midway_is_an_uninterrupted_one(rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The training dies in the middle of the second epoch, two steps after a checkpoint, with dropout and id dropout drawn."""
    spec = declaration()
    user = (Categorical(name="user_id", width=4, id_dropout=0.2), *spec.user[1:])
    spec = spec.replace(user=user, network=MMoE(experts=2, hidden=(6,), dropout=0.3))
    training = Training(epochs=3, batch_size=50, learning_rate=0.01, patience=None, checkpoint_every=3, probe=4)
    whole = spec.fit(rows, training=training, progress=False)
    plain, calls = Step.__call__, []

    def dying(step: Step, *of_batch: object, **more: object) -> None:
        calls.append(len(calls))
        if len(calls) == 17:
            raise InterruptedError
        plain(step, *of_batch, **more)

    monkeypatch.setattr(Step, "__call__", dying)
    with pytest.raises(InterruptedError):
        spec.fit(rows, training=training, progress=False, checkpoint=tmp_path / "c")
    resumed = spec.fit(rows, training=training, progress=False, checkpoint=tmp_path / "c", resume=True)
    assert len(calls) == 17 + 33 - 14, "the two steps after the checkpoint are taken again, no others"
    assert resumed.curves == whole.curves
    assert_same(whole, resumed, tolerance=0)


def fit_seven(rows: pl.DataFrame, balancing: Balancer, tables: str) -> Fitted:
    training = Training(epochs=1, batch_size=100, optimizer="sgd", learning_rate=0.02, patience=None, tables=tables)
    return seven_tasks().replace(balancing=balancing).fit(rows, training=training, progress=False)


SORTS = [kinds("balancers")[name]() for name in ("FixedWeights", "UPGrad", "FAMO", "GradNorm")]
"""One balancer of each sort: of fixed weights, of the Gramian, one that looks back, one of norms."""
TABLES = {"dense": [param.values[0] for param in BALANCERS], "rows": SORTS, "row_wise_adagrad": SORTS}
"""Balancers that are tried, by the way in which tables are updated."""


def _rank(rank: int, folder: str, texts: Mapping[str, Sequence[str]]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    rows = pl.read_parquet(Path(folder) / "rows.parquet")
    for tables, balancing in texts.items():
        for number, text in enumerate(balancing):
            fitted = fit(rows, Balancer.from_yaml(text), tables=tables)
            if rank == 0:
                fitted.save(Path(folder) / tables / str(number))
        for balancer in SORTS:
            fitted = fit_seven(rows, balancer, tables)
            if rank == 0:
                fitted.save(Path(folder) / tables / type(balancer).__name__)
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def by_ranks(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all fits by two processes, each with half of every batch."""
    folder = tmp_path_factory.mktemp("ranks")
    rows.write_parquet(folder / "rows.parquet")
    texts = {tables: [balancer.to_yaml() for balancer in balancers] for tables, balancers in TABLES.items()}
    multiprocessing.spawn(_rank, (str(folder), texts), nprocs=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("tables", TABLES)
def test_two_ranks_are_one(rows: pl.DataFrame, by_ranks: Path, tables: str):
    """Two processes with half of every batch each end with the weights of one, whatever balances and whatever the tasks are.

    A share of a batch may hold other labels, classes and grades than the other. Sparse tables meet one balancer of each sort.
    """
    for number, balancer in enumerate(TABLES[tables]):
        assert_same(fit(rows, balancer, tables=tables), Fitted.load(by_ranks / tables / str(number)), tolerance=1e-4)
    for balancer in SORTS:
        ranked = Fitted.load(by_ranks / tables / type(balancer).__name__)
        assert_same(fit_seven(rows, balancer, tables), ranked, tolerance=1e-4)


def test_a_step_without_labels_changes_nothing(rows: pl.DataFrame):
    spec = declaration()
    table = read_table(spec, rows.with_columns(rating=pl.when(pl.int_range(pl.len()) >= 100).then("rating")))
    learned = _learn(spec, prepare(spec, table), Training(epochs=1), "", None, False, False, "")
    data = learned.stage.rows
    balance = FixedWeights().build(("like", "stars"))
    step = Step(learned.model.train(), Objective(spec.tasks), balance, Training(optimizer="adam"), Ranks())
    before = {name: value.clone() for name, value in learned.model.state_dict().items()}
    step(data, torch.arange(100), 0, 10, probe=True)
    assert all(torch.equal(before[name], value) for name, value in learned.model.state_dict().items())
    assert step.mean_losses() == {}
