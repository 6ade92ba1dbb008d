"""Events that come after the training: a user's histories go on with them, as if they had been in the log."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from polyrec import (
    DIN,
    Binary,
    Categorical,
    Fitted,
    History,
    Joint,
    MMoE,
    MultiCategorical,
    Recommender,
    Regression,
    SASRec,
    SharedBottom,
    Tables,
    Text,
    TfIdf,
    Training,
    UserError,
)

ID = Categorical(name="item_id", width=4)
GENRES = MultiCategorical(name="genres", width=4)
TITLE = Text(name="title", encoder=TfIdf(components=4, longest=1), width=4)
LIKED = History(name="liked", of="item_id", length=5, where="rating >= 4", width=4)
TASKS = (Binary(name="like", label="rating >= 4", tower=(4,)), Regression(name="stars", label="rating", tower=(4,)))
HISTORIES: dict[str, tuple[tuple, tuple, tuple]] = {
    "of ids": ((LIKED, LIKED.replace(name="seen", where=None, length=3)), (ID, GENRES), ()),
    "of lists": ((LIKED.replace(of="genres"),), (ID, GENRES), ()),
    "of texts": ((LIKED.replace(of="title"),), (ID, TITLE), ()),
    "of joints": (
        (LIKED.replace(of="film", pooling=SASRec(layers=1, heads=1)),),
        (ID, TITLE, Joint(name="film", id="item_id", content="title", width=4)),
        (),
    ),
    "seen from the item": ((LIKED, LIKED.replace(name="aimed", pooling=DIN())), (ID, GENRES), ()),
    "of the hour": ((LIKED.replace(of="hour", where=None),), (ID,), (Categorical(name="hour", width=4),)),
}


@pytest.fixture(scope="module")
def table(world: pl.DataFrame) -> pl.DataFrame:
    words = pl.Series(["stars", "wars", "love", "night", "rain", "horses", "city"])
    titles = pl.concat_str(*(pl.lit(words).gather(pl.col("item_id") % size) for size in (6, 5)), separator=" and ")
    return world.head(2000).with_columns(hour=pl.col("timestamp") % 24, title=titles)


@pytest.fixture(scope="module", params=HISTORIES)
def trained(request: pytest.FixtureRequest, table: pl.DataFrame) -> Fitted:
    histories, item, features = HISTORIES[request.param]
    spec = Recommender(
        user=(Categorical(name="user_id", width=4), *histories),
        item=item,
        features=features,
        tasks=TASKS,
        network=MMoE(experts=2, hidden=(8,)),
        training=Training(epochs=1, batch_size=256, learning_rate=0.01),
    )
    return spec.fit(table, progress=False)


@pytest.fixture(scope="module")
def later(table: pl.DataFrame) -> Callable[[int], pl.DataFrame]:
    """Return a function that creates events after the last row of the table, with all columns."""

    def make(count: int) -> pl.DataFrame:
        items = table.select("item_id", "title", "genres").unique("item_id").sort("item_id").head(count)
        return items.with_columns(
            rating=pl.Series([5, 2, 4, 4, 1, 5, 5, 3][:count]),
            timestamp=pl.Series(range(5000, 5000 + count)),
            hour=pl.Series(range(count)),
        )

    return make


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("user", [101, -7], ids=["known", "unknown"])
def test_events_count_like_rows_of_the_log(trained: Fitted, later: Callable[[int], pl.DataFrame], user: int, count: int):
    events = later(count)
    top = trained.recommend(user_id=user, k=100, exclude_seen=False, events=events)
    read = {name: trained.parts.frames.columns.schema[name] for feature in trained.spec.features for name in feature.columns}
    asking = top.select("item_id", *(pl.lit(None, kind).alias(name) for name, kind in read.items()))
    asking = asking.join(trained.items, on="item_id", how="left", maintain_order="left").with_columns(
        timestamp=9999, rating=None
    )
    rows = pl.concat([events, asking], how="diagonal_relaxed").with_columns(user_id=pl.lit(user, pl.Int64))
    expected = trained.predict(rows)[count:]
    for column in ("score", "like", "stars"):
        np.testing.assert_allclose(top[column], expected[column], rtol=1e-5, atol=1e-6)
    without = trained.score(user, top["item_id"])
    assert not np.array_equal(without, top["score"])
    assert np.array_equal(trained.score(user, top["item_id"], events=events), top["score"])


def test_missing_columns_come_from_the_catalogue(trained: Fitted, later: Callable[[int], pl.DataFrame]):
    events = later(4)
    expected = trained.recommend(user_id=101, k=9, events=events)
    assert trained.recommend(user_id=101, k=9, events=events.drop("title", "genres")).equals(expected)


@pytest.fixture(scope="module")
def one(table: pl.DataFrame) -> Fitted:
    training = Training(epochs=1, batch_size=256)
    user = (Categorical(name="user_id", width=4), LIKED)
    spec = Recommender(user=user, item=(ID,), tasks=TASKS, network=SharedBottom(hidden=(8,)), training=training)
    return spec.fit(table, progress=False)


class TestWhatCounts:
    def test_rows_of_the_log_do_not_count_twice(self, one: Fitted, table: pl.DataFrame):
        known = table.filter(pl.col("user_id") == 101)
        assert one.recommend(user_id=101, k=9, events=known).equals(one.recommend(user_id=101, k=9))

    def test_the_order_of_events_is_that_of_their_times(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        events = later(6)
        assert one.recommend(user_id=101, k=9, events=events[::-1]).equals(one.recommend(user_id=101, k=9, events=events))

    def test_items_of_events_are_left_out(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        events = later(6)
        listed = set(one.recommend(user_id=-7, k=100, events=events)["item_id"])
        assert listed == set(one.items["item_id"]) - set(events["item_id"])

    def test_an_item_that_nobody_knows_is_an_unknown_id(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        unknown = later(1).with_columns(item_id=pl.lit(-1, pl.Int64))
        assert one.recommend(user_id=-7, k=100, events=unknown).height == one.items.height
        assert not one.recommend(user_id=-7, k=9, events=unknown).equals(one.recommend(user_id=-7, k=9))

    def test_none_are_none(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        assert one.recommend(user_id=101, k=9, events=later(0)).equals(one.recommend(user_id=101, k=9))

    def test_keys_of_another_type_are_read(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        events = later(3)
        texts = events.cast({"item_id": pl.String, "rating": pl.String})
        assert one.recommend(user_id="101", k=9, events=texts).equals(one.recommend(user_id=101, k=9, events=events))


class TestWhatIsRefused:
    @pytest.mark.parametrize("column", ["item_id", "timestamp"])
    def test_a_missing_column(self, one: Fitted, later: Callable[[int], pl.DataFrame], column: str):
        with pytest.raises(UserError, match=f"events: expected a column '{column}'"):
            one.recommend(user_id=101, events=later(2).drop(column))

    def test_a_value_that_is_none_of_its_column(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        with pytest.raises(UserError, match="column 'rating' of events: expected values of type Int64"):
            one.recommend(user_id=101, events=later(2).with_columns(rating=pl.lit("good")))

    def test_another_kind_of_time(self, one: Fitted, later: Callable[[int], pl.DataFrame]):
        with pytest.raises(UserError, match="expected numbers, as in training, found times without a time zone"):
            one.recommend(user_id=101, events=later(2).with_columns(timestamp=pl.lit("2026-01-31T12:00:00")))


def test_without_times_all_events_count():
    generator = np.random.default_rng(0)
    rows = pl.DataFrame({name: generator.integers(9, size=400) for name in ("user_id", "item_id", "rating")})
    spec = Recommender(
        user=(Categorical(name="user_id", width=4),),
        item=(Categorical(name="item_id", width=4),),
        tasks=(Binary(name="like", label="rating >= 4", tower=()),),
        training=Training(epochs=1, batch_size=64),
    )
    fitted = spec.fit(Tables(rows), progress=False)
    listed = fitted.recommend(user_id=-1, k=9, events=pl.DataFrame({"item_id": [0, 3]}))
    assert set(listed["item_id"]) == {1, 2, 4, 5, 6, 7, 8}
