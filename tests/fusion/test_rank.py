"""Rank against brute force, and what it must not notice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from polyrec import Fitted, Rank, Recommender
from polyrec.fusion.rank import share_below

LISTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30)
"""Values with many ties, and the requests that they are of."""


@given(rows=LISTS)
def test_the_share_below_is_that_of_brute_force(rows: list[tuple[int, int]]):
    values, requests = (torch.tensor(column) for column in zip(*rows, strict=True))
    expected = []
    for value, request in rows:
        peers = [other for other, group in rows if group == request]
        expected.append((sum(other < value for other in peers) + sum(other == value for other in peers) / 2) / len(peers))
    assert share_below(values.double(), requests).tolist() == pytest.approx(expected, rel=1e-15)


@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=20))
def test_ties_share_the_average_rank_of_scipy(values: list[int]):
    expected = (rankdata(values, method="average") - 0.5) / len(values)
    np.testing.assert_allclose(share_below(torch.tensor(values).double()).numpy(), expected, rtol=1e-15)


@given(rows=LISTS, data=st.data())
def test_a_permutation_of_rows_permutes_the_scores(rows: list[tuple[int, int]], data: st.DataObject):
    order = data.draw(st.permutations(range(len(rows))))
    values, requests = (torch.tensor(column) for column in zip(*rows, strict=True))
    whole = share_below(values.double(), requests)
    assert torch.equal(share_below(values[order].double(), requests[order]), whole[order])


@given(rows=LISTS, scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_a_map_that_increases_changes_nothing(rows: list[tuple[int, int]], scale: float, shift: float):
    values, requests = (torch.tensor(column) for column in zip(*rows, strict=True))
    likes, stars, fusion = values.double() / 5, (values * 7 % 5).double(), Rank(weights={"like": 2.0, "stars": -0.5})
    plain = fusion.score({"like": likes, "stars": stars}, requests)
    mapped = fusion.score({"like": torch.exp(likes * scale + shift), "stars": stars**3}, requests)
    assert torch.equal(mapped, plain)


@given(rows=LISTS)
def test_requests_do_not_see_each_other(rows: list[tuple[int, int]]):
    values, requests = (torch.tensor(column) for column in zip(*rows, strict=True))
    whole = Rank().score({"like": values}, requests)
    for request in requests.unique():
        mask = requests == request
        assert torch.equal(whole[mask], Rank().score({"like": values[mask]}))


def test_no_rows_have_no_scores():
    assert Rank().score({"like": torch.empty(0)}).shape == (0,)


def test_rows_of_one_user_are_one_request(small: Recommender, fitted: Fitted, split):
    spec = small.replace(fusion=Rank(weights={"like": 1.0}))
    ranked = Fitted(replace(fitted.parts, spec=spec), fitted.model)
    frame = ranked.predict(split[1])
    user = frame["user_id"][0]
    rows = frame.filter(user_id=user)
    expected = (rows["like"].rank("average") - 0.5) / rows.height
    np.testing.assert_allclose(rows["score"], expected, rtol=1e-12)
    top = ranked.recommend(user_id=user, k=60, exclude_seen=False)
    assert top["score"][0] == 1 - 0.5 / 60
