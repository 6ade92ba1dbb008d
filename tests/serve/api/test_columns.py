"""What a form may offer: columns of requests and events, with kinds and values."""

import json

import polars as pl

from polyrec import Binary, Categorical, Fitted, History, MultiCategorical, Numeric, Recommender, Training
from polyrec.serve.api.columns import MOST_VALUES, event_columns, event_names, feature_columns


def fit(rows: pl.DataFrame, where: str = "rating >= 4", user: tuple = ()) -> Fitted:
    spec = Recommender(
        user=(Categorical(name="user_id", width=4), History(name="liked", of="item_id", where=where, width=4), *user),
        item=(Categorical(name="item_id", width=4), MultiCategorical(name="genres", width=4)),
        tasks=(Binary(name="like", label="rating >= 4", tower=(4,)),),
        training=Training(epochs=1, batch_size=256),
    )
    return spec.fit(rows, progress=False)


def test_features_are_the_columns_of_the_users_side_but_for_the_key_and_lists(world: pl.DataFrame):
    rows = world.head(600).with_columns(
        city=pl.when(pl.col("user_id") % 2 == 0).then(pl.lit("Ulm")),
        member=pl.col("user_id") % 3 == 0,
        tags=pl.concat_list(pl.lit("a"), pl.lit("b")),
        weight=pl.col("user_id").cast(pl.Float64),
    )
    user = (
        Categorical(name="city", width=4),
        Categorical(name="member", width=4),
        MultiCategorical(name="tags", width=4),
        Numeric(name="weight", width=4),
    )
    columns = feature_columns(fit(rows, user=user))
    assert rows["weight"].n_unique() > MOST_VALUES
    assert columns == {
        "city": {"kind": "text", "values": ["Ulm"]},
        "member": {"kind": "boolean", "values": [False, True]},
        "weight": {"kind": "number", "values": []},
    }
    assert json.dumps(columns, allow_nan=False)


def test_events_may_tell_what_histories_read_beside_the_items_columns(world: pl.DataFrame):
    rows = world.head(600)
    fitted = fit(rows)
    assert event_names(fitted) == ["rating"]
    assert event_columns(fitted) == {"rating": {"kind": "number", "values": [1, 2, 3, 4, 5]}}
    typed = rows.with_columns(type=pl.when(pl.col("rating") > 2).then(pl.lit("buy")).otherwise(pl.lit("view")))
    assert event_columns(fit(typed, where="type = 'buy'")) == {"type": {"kind": "text", "values": ["buy", "view"]}}
