"""Items added or changed after the training are as if they had been in the catalogue from the beginning."""

import numpy as np
import polars as pl
import pytest
import torch

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    History,
    Joint,
    MMoE,
    MultiCategorical,
    Numeric,
    Package,
    Recommender,
    Retrieval,
    Tables,
    Text,
    Training,
    UserError,
)
from polyrec.predict.items import places

WORDS = ["stars", "love", "night", "rain", "horses"]


@pytest.fixture(scope="module")
def tables(world: pl.DataFrame) -> Tables:
    rows = world.head(2000)
    items = rows.select("item_id", "genres").unique("item_id").sort("item_id")
    titles = [f"{WORDS[key % 5]} and {WORDS[key % 3]} {key}" for key in items["item_id"]]
    items = items.with_columns(title=pl.Series(titles), year=1990 + pl.col("item_id") % 30)
    return Tables(rows.drop("genres"), items=items)


@pytest.fixture(scope="module")
def trained(tables: Tables) -> Fitted:
    spec = Recommender(
        user=(
            Categorical(name="user_id", width=4),
            History(name="liked", of="film", length=5, where="rating >= 4", width=4),
        ),
        item=(
            Categorical(name="item_id", width=4),
            Text(name="title", encoder=Package(), width=4),
            Joint(name="film", id="item_id", content="title", width=4),
            MultiCategorical(name="genres", width=4),
            Numeric(name="year", width=4),
        ),
        tasks=(
            Binary(name="like", label="rating >= 4", tower=(4,)),
            Retrieval(name="met", label="true", negatives=16, width=4, tower=(4,), new_items=0.1),
        ),
        network=MMoE(experts=2, hidden=(8,)),
        training=Training(epochs=1, batch_size=256, learning_rate=0.01),
    )
    return spec.fit(tables, progress=False)


CHANGES = pl.DataFrame(
    {
        "item_id": [-1, 12, 99999, 12],
        "title": ["a new film about horses", "once", "rain", "twice"],
        "genres": [["war", "comedy"], None, [], ["drama"]],
    }
)


def test_an_item_is_as_if_it_had_been_there(trained: Fitted, tables: Tables):
    known = trained.items
    before = known.filter(pl.col("item_id") == 12)
    changed = trained.with_items(CHANGES)
    assert changed.items.height == known.height + 2
    assert changed.items["item_id"].to_list() == [*known["item_id"], -1, 99999]
    again = changed.items.filter(pl.col("item_id") == 12)
    assert again["title"].item() == "twice"
    assert again["year"].item() == before["year"].item()
    rebuilt = Fitted(changed.parts, trained.model)
    for user in (101, 150, -7):
        for options in ({}, {"exclude_seen": False}):
            one, other = (version.recommend(user_id=user, k=100, **options) for version in (changed, rebuilt))
            assert one["item_id"].to_list() == other["item_id"].to_list()
            for column in ("score", "like", "met"):
                np.testing.assert_allclose(one[column], other[column], rtol=1e-6)


def test_the_recommender_before_stays_as_it_was(trained: Fitted):
    before = trained.recommend(user_id=101, k=9)
    trained.with_items(CHANGES)
    assert trained.recommend(user_id=101, k=9).equals(before)


def test_a_new_text_changes_the_score_of_its_item_only(trained: Fitted):
    changed = trained.with_items(pl.DataFrame({"item_id": ["12"], "title": ["something else entirely"]}))
    assert changed.items["item_id"].to_list() == trained.items["item_id"].to_list()
    one, other = (version.score(101, [12, 19]) for version in (changed, trained))
    assert one[0] != other[0]
    assert one[1] == pytest.approx(other[1])


def test_events_may_be_about_new_items(trained: Fitted):
    changed = trained.with_items(CHANGES)
    events = pl.DataFrame({"item_id": [-1, 99999], "rating": [5, 5], "timestamp": [9000, 9001]})
    assert not set(changed.recommend(user_id=101, k=100, events=events)["item_id"]) & {-1, 99999}
    assert not np.array_equal(changed.score(101, [12], events=events), changed.score(101, [12]))


def test_changes_may_follow_changes(trained: Fitted):
    first = trained.with_items(CHANGES)
    second = first.with_items(pl.DataFrame({"item_id": [-1, -2], "year": [2001, 2002]}))
    assert second.items.height == trained.items.height + 3
    assert second.items.filter(pl.col("item_id") == -1)["title"].item() == "a new film about horses"
    rebuilt = Fitted(second.parts, trained.model)
    np.testing.assert_allclose(second.score(101, [-1, -2, 12]), rebuilt.score(101, [-1, -2, 12]), rtol=1e-6)


def test_places_are_those_of_the_last_rows():
    items, rows = pl.DataFrame({"k": [5, 6, 7]}), pl.DataFrame({"k": [9, 6, 8]})
    assert torch.equal(places(rows, items, "k"), torch.tensor([0, 4, 2, 3, 5]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": ["x"], "item_id": [1]}, "column 'titel' of items: expected a column of the catalogue"),
        ({"title": ["x"]}, "items: expected a column 'item_id'"),
        ({"item_id": [None]}, "column 'item_id' of items: expected a key in every row"),
        ({"item_id": [1], "year": ["long ago"]}, "column 'year' of items: expected values of type Int64"),
    ],
)
def test_values_that_do_not_fit_are_refused(trained: Fitted, changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        trained.with_items(pl.DataFrame(changes))
