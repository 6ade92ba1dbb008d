"""The figures of lists that `evaluate` tells are those of what `recommend` answers."""

import math

import numpy as np
import polars as pl
import pytest

from polyrec import Fitted, UserError


@pytest.fixture(scope="module")
def lists(fitted: Fitted, split) -> dict[int, list[int]]:
    """The top five of every user who has an item to be found among the test rows."""
    liked = split[1].filter(pl.col("rating") >= 4).select("user_id", "item_id").unique()
    liked = liked.join(split[0], on=["user_id", "item_id"], how="anti")
    return {user: fitted.recommend(user_id=user, k=5)["item_id"].to_list() for user in liked["user_id"].unique()}


def test_novelty_and_popularity_count_the_users_of_the_training_rows(fitted: Fitted, split, lists):
    met = dict(split[0].group_by("item_id").agg(pl.col("user_id").n_unique()).iter_rows())
    users = split[0]["user_id"].n_unique()
    found = fitted.evaluate(split[1], ks=(5,), resamples=10)
    bits = np.mean([np.mean([-math.log2(met[item] / users) for item in own]) for own in lists.values()])
    popular = {user: np.mean([met[item] / users for item in own]) for user, own in lists.items()}
    profiles = split[0].select("user_id", "item_id").unique().with_columns(n=pl.col("item_id").replace_strict(met) / users)
    before = dict(profiles.group_by("user_id").agg(pl.col("n").mean()).iter_rows())
    known = [user for user in lists if user in before]
    base = np.mean([before[user] for user in known])
    assert found.beyond_accuracy["novelty@5"] == pytest.approx(bits)
    assert found.beyond_accuracy["popularity@5"] == pytest.approx(np.mean(list(popular.values())))
    lift = (np.mean([popular[user] for user in known]) - base) / base
    assert found.beyond_accuracy["popularity_lift@5"] == pytest.approx(lift)
    low, high = found.intervals["beyond_accuracy"]["novelty@5"]
    assert low < bits < high
    assert "recommended lists" in str(found)


def test_exposure_is_by_the_columns_of_the_catalogue(fitted: Fitted, split, lists):
    found = fitted.evaluate(split[1], ks=(5,), exposure=["item_id"])
    totals: dict[str, float] = {}
    for own in lists.values():
        for rank, item in enumerate(own):
            totals[str(item)] = totals.get(str(item), 0.0) + 1 / math.log2(rank + 2)
    shares = {value: total / sum(totals.values()) for value, total in totals.items()}
    told = found.to_dict()["exposure"]["item_id"]
    assert {own["value"]: own["exposure"] for own in told if own["exposure"] > 0} == pytest.approx(shares)
    rows = dict(split[0]["item_id"].cast(pl.String).value_counts().iter_rows())
    assert {own["value"]: own["training"] for own in told} == pytest.approx({v: n / 5000 for v, n in rows.items()})
    assert found.beyond_accuracy["diversity_item_id@5"] == 1
    assert "of the training rows" in str(found)


def test_a_column_that_the_catalogue_lacks_is_refused_before_anything_is_ranked(fitted: Fitted, split):
    with pytest.raises(UserError, match="`exposure` of the catalogue: expected a column 'price'"):
        fitted.evaluate(split[1], exposure=["price"])


def test_without_a_ranking_there_are_no_lists(fitted: Fitted, split):
    told = fitted.evaluate(split[1], ranking=False).to_dict()
    assert not {"beyond_accuracy", "exposure"} & set(told)
