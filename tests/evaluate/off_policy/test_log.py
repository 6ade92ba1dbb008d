"""Logs are read into lists and ranks, and refused if they allow no estimate."""

import math

import numpy as np
import polars as pl
import pytest

from polyrec import UserError
from polyrec.evaluate.off_policy.log import LogColumns, clusters, read_log, to_ranks

LOG = pl.DataFrame(
    {
        "request": ["b", "a", "a", "c"],
        "user": ["u", "v", "v", "u"],
        "item": [1, 2, 3, 4],
        "position": [1, 2, 1, 1],
        "propensity": [0.5, 0.25, 1.0, 0.1],
        "click": [True, False, True, False],
    }
)


def with_column(name: str, values: list) -> pl.DataFrame:
    return LOG.with_columns(pl.Series(name, values, strict=False))


def test_rows_stand_by_list_and_rank_whatever_their_order():
    rows = read_log(LOG, LogColumns(), "click", None)
    assert rows.select("list", "rank", "item").rows() == [(0, 0, 3), (0, 1, 2), (1, 0, 1), (2, 0, 4)]
    assert rows["click"].to_list() == [1.0, 0.0, 1.0, 0.0]
    np.testing.assert_array_equal(to_ranks(rows, rows["propensity"], 9.0), [[1.0, 0.25], [0.5, 9.0], [0.1, 9.0]])
    assert clusters(rows, "user").tolist() == [1, 0, 0]
    assert clusters(rows, "session").tolist() == [0, 1, 2]


def test_a_list_without_a_user_is_one_of_its_own():
    rows = read_log(with_column("user", [None, "v", "v", None]), LogColumns(), "click", None)
    assert len(set(clusters(rows, "user").tolist())) == 3


def test_without_requests_every_row_is_a_list():
    rows = read_log(LOG.drop("request", "position"), LogColumns(), "click", None)
    assert rows.select("list", "rank").rows() == [(0, 0), (1, 0), (2, 0), (3, 0)]
    with pytest.raises(UserError, match="ranks of the log"):
        read_log(LOG.drop("request"), LogColumns(), "click", None)


def test_only_the_first_ranks_are_kept_where_asked_for():
    assert read_log(LOG, LogColumns(), "click", 1)["item"].to_list() == [3, 1, 4]


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (with_column("propensity", [0.0, 0.25, 1.0, 0.1]), "expected probabilities above 0 and up to 1, found 0.0"),
        (with_column("propensity", [1.5, 0.25, 1.0, 0.1]), "found 1.5 and similar values in 1 of 4 rows"),
        (with_column("propensity", [None, 0.25, 1.0, 0.1]), "found None"),
        (with_column("propensity", [math.nan, 0.25, 1.0, 0.1]), "found nan"),
        (with_column("propensity", ["x", "y", "z", "w"]), "expected numbers, found String"),
        (with_column("click", [None, 1.0, 1.0, 0.0]), "reward 'click': expected a number in every row"),
        (with_column("click", [math.inf, 1.0, 1.0, 0.0]), "reward 'click': expected a number in every row"),
        (with_column("position", [1, 3, 1, 1]), "found other ranks in 1 lists"),
        (with_column("position", [1, 1, 1, 1]), "found other ranks in 1 lists"),
        (with_column("position", [None, 2, 1, 1]), "found other ranks in 1 lists"),
        (with_column("request", [None, "a", "a", "c"]), "column 'request' of the log: expected a key in every row"),
        (LOG.drop("propensity"), "expected a column 'propensity'"),
    ],
)
def test_what_cannot_be_judged_is_refused(log: pl.DataFrame, message: str):
    with pytest.raises(UserError, match=message):
        read_log(log, LogColumns(), "click", None)


def test_a_propensity_that_rounding_put_above_one_is_taken():
    read_log(with_column("propensity", [1 + 1e-9, 0.25, 1.0, 0.1]), LogColumns(), "click", None)


def test_names_of_columns_by_role():
    assert LogColumns.of(["user=user_id", "item=film"]) == LogColumns(user="user_id", item="film")
    for options, message in ((["usr=x"], "Did you mean 'user'"), (["user"], "no name for 'user'")):
        with pytest.raises(UserError, match=message):
            LogColumns.of(options)
