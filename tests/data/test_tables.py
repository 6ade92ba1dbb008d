"""Side tables joined by key."""

import polars as pl
import pytest

from polyrec import Tables, UserError
from polyrec.data.tables import join

INTERACTIONS = pl.DataFrame({"user_id": [1, 2, 1], "item_id": [10, 11, 12], "rating": [5, 3, 1]})
ITEMS = pl.DataFrame({"item_id": [10, 11], "title": ["a", "b"]})


def test_columns_are_added_by_key_in_the_rows_order():
    users = pl.DataFrame({"user_id": [2, 1], "age": [20, 10]})
    joined = join(Tables(INTERACTIONS, users, ITEMS), "user_id", "item_id")
    assert joined.frame["age"].to_list() == [10, 20, 10]
    assert joined.frame["title"].to_list() == ["a", "b", None]
    assert joined.items is not None
    assert joined.items.height == 2


def test_ids_above_32_bits_and_in_unicode():
    big = INTERACTIONS.with_columns(item_id=pl.Series([2**40, 2**41, 2**40]), user_id=pl.Series(["Ünï", "名前", "Ünï"]))
    items = pl.DataFrame({"item_id": [2**41, 2**40], "title": ["b", "a"]})
    users = pl.DataFrame({"user_id": ["名前", "Ünï"], "age": [1, 2]})
    frame = join(Tables(big, users, items), "user_id", "item_id").frame
    assert frame["title"].to_list() == ["a", "b", "a"]
    assert frame["age"].to_list() == [2, 1, 2]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            pl.DataFrame({"item_id": [10, 10], "title": ["a", "b"]}),
            r"'item_id' of the item table: expected each key once, found \[10\]",
        ),
        (pl.DataFrame({"item_id": [10, None], "title": ["a", "b"]}), "expected a key in every row, found nulls"),
        (pl.DataFrame({"item_id": ["10"], "title": ["a"]}), "expected Int64, its type in the interactions, found String"),
        (
            pl.DataFrame({"item": [10], "title": ["a"]}),
            "item table: expected a column 'item_id', found no such column. Did you mean 'item'",
        ),
        (pl.DataFrame({"item_id": [10], "rating": [1]}), "column 'rating': expected a column of one table only"),
    ],
)
def test_item_tables_that_do_not_fit_are_refused(items: pl.DataFrame, message: str):
    with pytest.raises(UserError, match=message):
        join(Tables(INTERACTIONS, items=items), "user_id", "item_id")


def test_a_side_table_without_a_declared_key_is_refused():
    with pytest.raises(UserError, match="expected a key to join it by"):
        join(Tables(INTERACTIONS, items=ITEMS), "user_id", None)
