"""LightGCN: its edges, and an id seen through them. Shape letters: U values of the own id, V of the other, K width."""

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from polyrec.core.files import read_parquet, write_parquet
from polyrec.features.categorical import Categorical
from polyrec.features.light_gcn import LightGCN

FEATURE = LightGCN(name="neighbours", of="user_id", to="item_id", layers=2, width=3)
OWN, OTHER = pl.Series([1, 2, 1, 0, 3, 1]), pl.Series([2, 2, 2, 1, 0, 1])


def tables() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    own_UK, other_VK = (torch.randn(rows, 3, generator=generator) for rows in (5, 4))
    return own_UK.requires_grad_(), other_VK.requires_grad_()


def propagated(edges: pl.DataFrame, own_UK: Tensor, other_VK: Tensor) -> Tensor:
    return FEATURE.build_derived({}, edges).propagate(own_UK, other_VK)


def test_edges_are_distinct_pairs_of_known_values():
    state = FEATURE.fit_edges(OWN, OTHER)
    assert state.rows() == [(1, 1), (1, 2), (2, 2)]
    assert FEATURE.fit_edges(OWN.reverse(), OTHER.reverse()).equals(state)


def test_edges_are_of_the_training_rows_alone():
    users, items = Categorical(name="user_id"), Categorical(name="item_id")
    training = pl.DataFrame({"user_id": ["ann", "bob", "ann"], "item_id": [10, 20, 20]})
    later = pl.DataFrame({"user_id": ["bob", "new"], "item_id": [10, 30]})
    states = [feature.fit(training) for feature in (users, items)]
    numbers = [f.encode(training, state).values_N for f, state in zip((users, items), states, strict=True)]
    edges = FEATURE.fit_edges(*(pl.Series(values.numpy()) for values in numbers))
    named = {(states[0]["value"][own - 1], states[1]["value"][other - 1]) for own, other in edges.rows()}
    assert named == set(training.rows())
    assert named.isdisjoint(later.rows())


def test_an_id_is_the_mean_over_layers_around_it():
    """Edges 1-1, 1-2, 2-2, so user 1 and item 2 have degree 2: weights 1/sqrt(2), 1/2 and 1/sqrt(2)."""
    own_UK, other_VK = tables()
    found = propagated(FEATURE.fit_edges(OWN, OTHER), own_UK, other_VK)
    root = 0.5**0.5
    first_user = {1: root * other_VK[1] + 0.5 * other_VK[2], 2: root * other_VK[2]}
    first_item = {1: root * own_UK[1], 2: 0.5 * own_UK[1] + root * own_UK[2]}
    second_user = {1: root * first_item[1] + 0.5 * first_item[2], 2: root * first_item[2]}
    for user in (1, 2):
        torch.testing.assert_close(found[user], (own_UK[user] + first_user[user] + second_user[user]) / 3)


def test_values_unseen_or_without_an_edge_keep_their_own_embedding():
    own_UK, other_VK = tables()
    found = propagated(FEATURE.fit_edges(OWN, OTHER), own_UK, other_VK)
    assert torch.equal(found[[0, 3, 4]], own_UK[[0, 3, 4]])
    assert (found[[1, 2]] != own_UK[[1, 2]]).all()


def test_nothing_of_number_zero_of_the_other_side_is_seen():
    own_UK, other_VK = tables()
    propagated(FEATURE.fit_edges(OWN, OTHER), own_UK, other_VK).square().sum().backward()
    assert own_UK.grad.all()
    assert other_VK.grad.any(1).tolist() == [False, True, True, False]


def test_without_an_edge_the_table_is_as_it_was():
    own_UK, other_VK = tables()
    nothing = FEATURE.fit_edges(pl.Series([0, 1]), pl.Series([1, 0]))
    assert torch.equal(propagated(nothing, own_UK, other_VK), own_UK)


def test_edges_survive_parquet(tmp_path):
    state = FEATURE.fit_edges(OWN, OTHER)
    write_parquet(tmp_path / "state.parquet", state)
    again = read_parquet(tmp_path / "state.parquet")
    assert torch.equal(propagated(again, *tables()), propagated(state, *tables()))


def test_reads_no_column_of_the_row():
    assert FEATURE.columns == ()


def test_a_graph_of_a_feature_with_itself_is_refused():
    with pytest.raises(ValidationError, match="`of` and `to` are both 'user_id'"):
        LightGCN(name="neighbours", of="user_id", to="user_id")
