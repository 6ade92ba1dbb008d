"""The predictions for one user and many items equal those for a table of the same rows, for every declaration."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from polyrec import (
    DIN,
    MLP,
    PLE,
    STEM,
    Binary,
    Categorical,
    DCNv2,
    Fitted,
    History,
    LightGCN,
    MMoE,
    MultiCategorical,
    Numeric,
    Platt,
    Recommender,
    Regression,
    Retrieval,
    SharedBottom,
    Tables,
    Training,
)

USER = (Categorical(name="user_id", width=4), Numeric(name="age", width=4))
ITEM = (Categorical(name="item_id", width=4), MultiCategorical(name="genres", width=4))
LIKED = History(name="liked", of="item_id", length=5, where="rating >= 4", width=4)
TASKS = (Binary(name="like", label="rating >= 4", tower=(4,)), Regression(name="stars", label="rating", tower=(4,)))

DECLARATIONS = {
    "linear first": {"user": (*USER, LIKED)},
    "products": {"user": USER, "network": MMoE(experts=2, hidden=(8,), products=True)},
    "levels over a trunk": {"user": USER, "network": PLE(hidden=(8,), trunk=MLP(hidden=(8,)))},
    "crosses": {"user": USER, "network": SharedBottom(hidden=(8,), trunk=DCNv2())},
    "copies of tables": {"user": (*USER, LIKED), "network": STEM(hidden=(8,))},
    "history seen from the item": {"user": (*USER, LIKED, LIKED.replace(name="aimed", pooling=DIN()))},
    "graphs": {
        "user": (*USER, LightGCN(name="around", of="user_id", to="item_id", width=4)),
        "item": (*ITEM, LightGCN(name="fans", of="item_id", to="user_id", width=4)),
    },
    "the encounter": {"user": USER, "features": (Categorical(name="hour", width=4), Numeric(name="wait", width=4))},
    "views": {
        "user": (*USER, LIKED),
        "tasks": (
            *TASKS,
            Binary(name="active", label="rating >= 3", inputs="user", tower=(4,)),
            Binary(name="good", label="rating >= 3", inputs="item", tower=(4,)),
            Retrieval(name="met", label="rating >= 4", negatives=0, width=4, tower=(4,)),
        ),
    },
    "calibrated": {"user": USER, "calibration": {"like": Platt()}},
}


@pytest.fixture(scope="module")
def table(world: pl.DataFrame) -> pl.DataFrame:
    """Rows with an hour and a waiting time of the encounter, and few genres an item."""
    return world.head(2000).with_columns(hour=pl.col("timestamp") % 24, wait=pl.col("timestamp") % 7 / 7)


def declare(**others: object) -> Recommender:
    defaults = {"item": ITEM, "tasks": TASKS, "network": MMoE(experts=2, hidden=(8,))}
    training = Training(epochs=1, batch_size=256, learning_rate=0.01)
    return Recommender(**(defaults | {"training": training} | others))


@pytest.fixture(scope="module", params=DECLARATIONS)
def trained(request: pytest.FixtureRequest, table: pl.DataFrame) -> Fitted:
    return declare(**DECLARATIONS[request.param]).fit(table, progress=False)


@pytest.mark.parametrize("user", [101, 179, -7], ids=["known", "another known", "unknown"])
def test_the_catalogue_is_predicted_like_a_table(trained: Fitted, user: int):
    top = trained.recommend(user_id=user, k=100, exclude_seen=False)
    read = {column: trained.parts.frames.columns.schema[column] for f in trained.spec.features for column in f.columns}
    rows = top.select(pl.lit(user, pl.Int64).alias("user_id"), "item_id", *(pl.lit(None, t).alias(n) for n, t in read.items()))
    expected = trained.predict(rows)
    for column in expected.columns[2:]:
        np.testing.assert_allclose(
            top[column], expected[column], rtol=1e-4, atol=1e-5
        )  # a steep calibrator multiplies rounding
    assert (-expected["score"]).to_numpy().argsort(kind="stable").tolist() == [*range(top.height)]
    np.testing.assert_allclose(trained.score(user, top["item_id"]), top["score"], rtol=1e-6)


class TestWhoIsAsked:
    def test_columns_given_replace_what_is_known(self, table: pl.DataFrame):
        fitted = declare(**DECLARATIONS["the encounter"]).fit(table, progress=False)
        top = fitted.recommend(user_id=101, age=69, hour=3, k=100, exclude_seen=False)
        given = {"user_id": 101, "age": 69.0, "hour": 3, "wait": None}
        columns = [pl.lit(value, table.schema[name]).alias(name) for name, value in given.items()]
        expected = fitted.predict(top.select("item_id", *columns))
        np.testing.assert_allclose(top["score"], expected["score"], rtol=1e-5)
        assert fitted.recommend(user_id=101, hour=3, k=100)["score"].to_list() != top["score"].to_list()

    def test_a_user_of_the_log_alone_keeps_key_and_history(self, table: pl.DataFrame):
        sides = Tables(table.drop("age"), users=table.select("user_id", "age").unique().filter(pl.col("user_id") != 101))
        fitted = declare(user=(*USER, LIKED)).fit(sides, progress=False)
        top = fitted.recommend(user_id=101, k=100, exclude_seen=False)
        expected = fitted.predict(top.select(pl.lit(101, pl.Int64).alias("user_id"), "item_id"))
        np.testing.assert_allclose(top["score"], expected["score"], rtol=1e-5)
        assert not np.allclose(fitted.score(-1, top["item_id"]), top["score"])

    def test_nobody_has_no_history(self, fitted: Fitted):
        assert fitted.recommend(user_id=None, k=5).equals(fitted.recommend(k=5))


class TestManyRequests:
    def test_may_come_at_once(self, fitted: Fitted):
        items, users = fitted.items["item_id"], [*range(100, 180)]
        expected = [fitted.score(user, items) for user in users]
        with ThreadPoolExecutor(8) as pool:
            scores = [*pool.map(lambda user: fitted.score(user, items), users * 3)]
        assert all(np.array_equal(first, second) for first, second in zip(scores, expected * 3, strict=True))

    def test_leave_nothing_behind(self, fitted: Fitted):
        items = fitted.items["item_id"].to_list()

        def ask(count: int) -> int:
            for user in range(count):
                fitted.score(user, items)
                fitted.recommend(age=20.0 + user)
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        before = ask(20)
        after = ask(120)
        tracemalloc.stop()
        assert after - before < 50_000
