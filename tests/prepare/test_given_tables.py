"""Tables whose keys are of other types, and catalogues that lack a column of the interactions."""

import polars as pl
import pytest

from polyrec import Binary, Categorical, Fitted, Numeric, RandomSplit, Recommender, Tables, Training


@pytest.fixture(scope="module")
def rows(world: pl.DataFrame) -> pl.DataFrame:
    return world.head(1500)


@pytest.fixture(scope="module")
def plain(rows: pl.DataFrame) -> Fitted:
    spec = Recommender(
        user=(Categorical(name="user_id", width=4), Numeric(name="age", width=4)),
        item=(Categorical(name="item_id", width=4),),
        tasks=(Binary(name="like", label="rating >= 4", tower=(4,)),),
        training=Training(epochs=1, split=RandomSplit()),
    )
    return spec.fit(rows[:1000], progress=False)


def test_keys_as_strings_are_judged_as_they_are_predicted(plain: Fitted, rows: pl.DataFrame):
    held = rows[1000:]
    as_text = held.with_columns(pl.col("user_id", "item_id").cast(pl.String))
    first, second = plain.evaluate(held), plain.evaluate(as_text)
    assert second.tasks == first.tasks
    assert second.fusion == first.fusion


def test_known_columns_are_found_by_keys_of_another_width(plain: Fitted, rows: pl.DataFrame):
    held = rows[1000:].drop("age").with_columns(pl.col("user_id").cast(pl.Int32))
    assert plain.predict(held)["like"].is_finite().all()


def test_an_item_table_may_lack_a_column_of_the_interactions(rows: pl.DataFrame):
    frame = rows.with_columns(price=pl.col("item_id") / 10.0)
    items = rows.select("item_id").unique()
    spec = Recommender(
        user=(Categorical(name="user_id", width=4),),
        item=(Categorical(name="item_id", width=4), Numeric(name="price", width=4)),
        tasks=(Binary(name="like", label="rating >= 4", tower=(4,)),),
        training=Training(epochs=1),
    )
    fitted = spec.fit(Tables(frame, items=items), progress=False)
    assert fitted.items["price"].null_count() == 0
    assert fitted.recommend(user_id=105, k=3).height == 3


def test_no_ranks_are_no_ranking(plain: Fitted, rows: pl.DataFrame):
    assert plain.evaluate(rows[1000:], ks=()).fusion == {}
