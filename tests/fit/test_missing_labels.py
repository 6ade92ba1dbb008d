"""Seventy of a hundred labels of every task are missing at random, and many batches hold none of a task's labels."""

import numpy as np
import polars as pl
import pytest

from polyrec import Binary, Categorical, Fitted, FixedWeights, LightGCN, MMoE, Numeric, Recommender, Training, kinds
from polyrec.balancing.balancer import Balancer
from polyrec.networks.network import Network
from polyrec.tasks.task import Task

SHARE = 0.7
"""Share of the labels that is missing."""

TASKS: dict[str, dict[str, object]] = {
    "Binary": {"label": "rating >= 4"},
    "Regression": {"label": "rating"},
    "Multiclass": {"label": "rating"},
    "Multilabel": {"label": "genres"},
    "Ordinal": {"label": "rating"},
    "Count": {"label": "rating"},
    "Quantile": {"label": "seconds"},
    "Censored": {"label": "seconds", "limit": "duration"},
    "Pairwise": {"label": "rating"},
    "Listwise": {"label": "rating", "within": "user_id"},
    "Triplet": {"label": "rating >= 4"},
    "Retrieval": {"label": "rating >= 3", "negatives": 16},
}
"""A task of every kind over the columns of the table."""


def task(kind: str, **changes: object) -> Task:
    made = kinds("tasks")[kind](name=kind.lower(), tower=(4,), **TASKS[kind] | changes)
    assert isinstance(made, Task)
    return made


@pytest.fixture(scope="module")
def rows(world: pl.DataFrame) -> pl.DataFrame:
    """The world with three label columns of which each misses its own rows, and a time cut at the length of the item."""
    world = world.head(400)
    generator = np.random.default_rng(1)
    duration = 5.0 + world["item_id"].to_numpy() % 11
    seconds = generator.exponential(2.0 * world["rating"].to_numpy())
    frame = world.with_columns(seconds=pl.Series(np.minimum(seconds, duration)), duration=pl.Series(duration))
    labels = ("rating", "genres", "seconds")
    return frame.with_columns(pl.when(pl.Series(generator.random(frame.height) > SHARE)).then(pl.col(name)) for name in labels)


def declaration(tasks: tuple[Task, ...], network: Network | None = None, balancing: Balancer | None = None) -> Recommender:
    return Recommender(
        user=(Categorical(name="user_id", width=4),),
        item=(Categorical(name="item_id", width=4), LightGCN(name="graph", of="item_id", to="user_id", width=4)),
        features=(Numeric(name="age", width=4),),
        tasks=tasks,
        network=network or MMoE(experts=2, hidden=(6,)),
        balancing=balancing or FixedWeights(),
        training=Training(epochs=2, batch_size=8, learning_rate=0.01, patience=None),
    )


def assert_finite(spec: Recommender, rows: pl.DataFrame) -> Fitted:
    """Fit, check that weights, losses, predictions and metrics are numbers, and return what was fitted."""
    fitted = spec.fit(rows, validation=rows, progress=False)
    assert all(np.isfinite(value.numpy()).all() for value in fitted.parts.weights.values())
    for entry in fitted.curves:
        assert all(np.isfinite(entry[f"{task.name}.loss"]) for task in spec.tasks)
    predictions = fitted.predict(rows)
    for column in predictions.columns:
        assert predictions[column].is_finite().all()
    assert set(fitted.evaluate(rows, ranking=False).tasks) == {task.name for task in spec.tasks}
    return fitted


def assert_learns(spec: Recommender, rows: pl.DataFrame) -> None:
    """The same, and on the rows that it learned from each task saves some of the loss of its best constant.

    Layers are wider, so that no task loses all its units, and the least skill is that of lists, whose loss has a floor.
    """
    training = spec.training.replace(epochs=6, batch_size=16, learning_rate=0.03)
    wide = {"tasks": tuple(task.replace(tower=(16,)) for task in spec.tasks), "network": MMoE(experts=2, hidden=(16,))}
    fitted = assert_finite(spec.replace(training=training, **wide), rows)
    skill = {task.name: fitted.curves[-1][f"{task.name}.skill"] for task in spec.tasks}
    assert min(skill.values()) > 0.005, skill


def test_every_kind_of_task_is_tried():
    """`Generative` is of a feature of codes, and tried with one in its own tests."""
    assert {*TASKS, "Generative"} == {name for name, kind in kinds("tasks").items() if kind.__module__.startswith("polyrec.")}


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_of_any_kind_learns(rows: pl.DataFrame, kind: str):
    assert_learns(declaration((task(kind),)), rows)


def test_tasks_of_all_kinds_learn_together(rows: pl.DataFrame):
    assert_learns(declaration(tuple(task(kind) for kind in TASKS)), rows)


def examples(family: str) -> list:
    every = [(name, kind, example) for name, kind in kinds(family).items() for example in (*kind.examples, {})]
    found = {}
    for name, kind, example in every:
        if family == "networks" and "personal" in example:
            example = example | {"personal": ["user_id"]}
        spec = kind(**example)
        found.setdefault(spec.to_yaml(), pytest.param(spec, id=f"{name}{len(found)}"))
    return list(found.values())


TRIO = ("Binary", "Regression", "Ordinal")


def first(family: str, *names: str) -> list:
    """Return the first example of each of some kinds."""
    every = examples(family)
    return [next(param for param in every if type(param.values[0]).__name__ == name) for name in names]


def pairs() -> list:
    """Pair every network with a balancer of the Gramian and one of norms, and every balancer with two networks.

    A network and a balancer meet in two places alone: the gradients at its input and the norms in its last shared layer. STEM
    has a copy of the tables a task, so that its gradients reach them by more than one way.
    """
    one = [(network, balancer) for network in examples("networks") for balancer in first("balancers", "UPGrad", "GradNorm")]
    two = [(network, balancer) for network in first("networks", "MMoE", "STEM") for balancer in examples("balancers")]
    by_id = {f"{network.id}-{balancer.id}": (*network.values, *balancer.values) for network, balancer in one + two}
    return [pytest.param(*values, id=name) for name, values in by_id.items()]


@pytest.fixture(scope="module")
def few(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.head(160)


def trio() -> tuple[Task, ...]:
    """Return three tasks that go by the names that examples may use."""
    names = ("like", "stars", "seconds")
    return tuple(task(kind).replace(name=name) for kind, name in zip(TRIO, names, strict=True))


@pytest.mark.parametrize(("network", "balancing"), pairs())
def test_any_network_trains_by_any_balancer_without_losing_a_number(few: pl.DataFrame, network: Network, balancing: Balancer):
    small = {"hidden": (6,)} if "hidden" in type(network).model_fields else {}
    network = network.replace(**small)
    spec = declaration(trio(), network, balancing)
    assert_finite(spec.replace(training=spec.training.replace(epochs=1, batch_size=16)), few)


def test_a_task_whose_labels_fill_no_batch_but_one(rows: pl.DataFrame):
    """All labels of one task lie in a few rows: most batches hold none, and it learns all the same."""
    rare = Binary(name="rare", label="CASE WHEN row < 6 THEN row < 3 END", tower=(4,))
    frame = rows.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    for balancing in kinds("balancers").values():
        spec = declaration((task("Regression"), rare), balancing=balancing())
        fitted = spec.fit(frame, validation=frame, progress=False)
        assert np.isfinite(fitted.curves[-1]["rare.loss"])
