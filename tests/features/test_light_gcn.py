"""LightGCN: its edges, and an id seen through them. Shape letters: U values of the id `of`, V of the id `to`, K width."""

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from polyrec.core.files import read_parquet, write_parquet
from polyrec.features.categorical import Categorical
from polyrec.features.light_gcn import LightGCN

FEATURE = LightGCN(name="neighbours", of="user_id", to="item_id", layers=2, width=3)
LEFT, RIGHT = pl.Series([1, 2, 1, 0, 3, 1]), pl.Series([2, 2, 2, 1, 0, 1])


def tables() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    left_UK, right_VK = (torch.randn(rows, 3, generator=generator) for rows in (5, 4))
    return left_UK.requires_grad_(), right_VK.requires_grad_()


def propagated(edges: pl.DataFrame, left_UK: Tensor, right_VK: Tensor) -> Tensor:
    return FEATURE.build_derived({}, edges).propagate(left_UK, right_VK)


def test_edges_are_distinct_pairs_of_known_values():
    state = FEATURE.fit_edges(LEFT, RIGHT)
    assert state.rows() == [(1, 1), (1, 2), (2, 2)]
    assert FEATURE.fit_edges(LEFT.reverse(), RIGHT.reverse()).equals(state)


def test_edges_are_of_the_training_rows_alone():
    users, items = Categorical(name="user_id"), Categorical(name="item_id")
    training = pl.DataFrame({"user_id": ["ann", "bob", "ann"], "item_id": [10, 20, 20]})
    later = pl.DataFrame({"user_id": ["bob", "new"], "item_id": [10, 30]})
    states = [feature.fit(training) for feature in (users, items)]
    numbers = [f.encode(training, state).values_N for f, state in zip((users, items), states, strict=True)]
    edges = FEATURE.fit_edges(*(pl.Series(values.numpy()) for values in numbers))
    named = {(states[0]["value"][left - 1], states[1]["value"][right - 1]) for left, right in edges.rows()}
    assert named == set(training.rows())
    assert named.isdisjoint(later.rows())


def test_an_id_is_the_mean_over_layers_around_it():
    """Edges 1-1, 1-2, 2-2, so user 1 and item 2 have degree 2: weights 1/sqrt(2), 1/2 and 1/sqrt(2)."""
    left_UK, right_VK = tables()
    table_UK = propagated(FEATURE.fit_edges(LEFT, RIGHT), left_UK, right_VK)
    root = 0.5**0.5
    first_user = {1: root * right_VK[1] + 0.5 * right_VK[2], 2: root * right_VK[2]}
    first_item = {1: root * left_UK[1], 2: 0.5 * left_UK[1] + root * left_UK[2]}
    second_user = {1: root * first_item[1] + 0.5 * first_item[2], 2: root * first_item[2]}
    for user in (1, 2):
        torch.testing.assert_close(table_UK[user], (left_UK[user] + first_user[user] + second_user[user]) / 3)


def test_values_unseen_or_without_an_edge_keep_their_own_embedding():
    left_UK, right_VK = tables()
    table_UK = propagated(FEATURE.fit_edges(LEFT, RIGHT), left_UK, right_VK)
    assert torch.equal(table_UK[[0, 3, 4]], left_UK[[0, 3, 4]])
    assert (table_UK[[1, 2]] != left_UK[[1, 2]]).all()


def test_nothing_of_number_zero_of_the_other_side_is_seen():
    left_UK, right_VK = tables()
    propagated(FEATURE.fit_edges(LEFT, RIGHT), left_UK, right_VK).square().sum().backward()
    assert left_UK.grad.all()
    assert right_VK.grad.any(1).tolist() == [False, True, True, False]


def test_without_an_edge_the_table_is_as_it_was():
    left_UK, right_VK = tables()
    nothing = FEATURE.fit_edges(pl.Series([0, 1]), pl.Series([1, 0]))
    assert torch.equal(propagated(nothing, left_UK, right_VK), left_UK)


def test_edges_survive_parquet(tmp_path):
    state = FEATURE.fit_edges(LEFT, RIGHT)
    write_parquet(tmp_path / "state.parquet", state)
    again = read_parquet(tmp_path / "state.parquet")
    assert torch.equal(propagated(again, *tables()), propagated(state, *tables()))


def test_reads_no_column_of_the_row():
    assert FEATURE.columns == ()


def test_a_graph_of_a_feature_with_itself_is_refused():
    with pytest.raises(ValidationError, match="`of` and `to` are both 'user_id'"):
        LightGCN(name="neighbours", of="user_id", to="user_id")
