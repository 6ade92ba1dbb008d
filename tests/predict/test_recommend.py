"""One list for one user: rules and candidates of the declaration, and options of the request."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional

from polyrec import (
    AtMost,
    Binary,
    Categorical,
    Diversify,
    EpsilonGreedy,
    Exclude,
    Fitted,
    History,
    MMoE,
    MultiCategorical,
    Multiply,
    Pinned,
    Recommender,
    Retrieval,
    Training,
    UserError,
    Where,
)
from polyrec.index.exact import Exact
from polyrec.index.index import Found, Index
from polyrec.predict.outputs import best_first
from polyrec.predict.proposer import Proposer


def declare(**others: object) -> Recommender:
    fields: dict[str, object] = {
        "user": (
            Categorical(name="user_id", width=4),
            History(name="liked", of="item_id", length=5, where="rating >= 4", width=4),
        ),
        "item": (Categorical(name="item_id", width=4), MultiCategorical(name="genres", width=4)),
        "tasks": (
            Binary(name="good", label="rating >= 3", inputs="item", tower=(4,)),
            Binary(name="like", label="rating >= 4", tower=(4,)),
            Retrieval(name="met", label="true", negatives=16, width=8, tower=(), new_items=0.2),
        ),
        "network": MMoE(experts=2, hidden=(8,)),
        "fusion": Multiply(powers={"like": 1.0, "met": 2.0}),
        "training": Training(epochs=1, batch_size=256, learning_rate=0.01),
    }
    return Recommender.model_validate(fields | others)


@pytest.fixture(scope="module")
def fitted(world: pl.DataFrame) -> Fitted:
    return declare().fit(world.head(2000), progress=False)


def altered(fitted: Fitted, **changes: object) -> Fitted:
    """Return the recommender with the very weights and a declaration that is changed where no weight depends on it."""
    from dataclasses import replace

    return Fitted(replace(fitted.parts, spec=fitted.spec.replace(**changes)), fitted.model)


class TestBestFirst:
    @pytest.mark.parametrize("k", [1, 2, 3, 9])
    def test_what_is_no_number_comes_last_and_nothing_is_lost(self, k: int):
        scores = torch.tensor([torch.nan, 1.0, torch.inf, torch.nan, -torch.inf, 1.0])
        assert best_first(scores, k).tolist() == [2, 1, 5, 0, 3, 4][: min(k, 6)]


class Growing(Exact):
    """An index to which another catalogue's items come right before each search."""

    def search(self, queries_QD: np.ndarray, k: int, keep: np.ndarray | None = None) -> Found:
        count = len(self)
        self.put(np.arange(count, count + 3), np.repeat(queries_QD / np.linalg.norm(queries_QD), 3, 0))
        return super().search(queries_QD, k, keep)


class TestProposer:
    @pytest.mark.parametrize("left_out", [0, 4])
    def test_an_index_that_grows_during_a_search_proposes_items_of_the_catalogue(self, left_out: int):
        item_IK = functional.normalize(torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), dim=1)
        user_1K = torch.ones(1, 4) / 2
        keep_I = torch.ones(30, dtype=torch.bool)
        keep_I[(item_IK @ user_1K[0]).argsort(descending=True)[:left_out]] = False

        def proposed(index: Index) -> list[int]:
            proposer = Proposer(item_IK, torch.zeros(30), 0.0, index)
            return proposer.nearest(lambda rows: torch.cat([user_1K, user_1K], 1), 6, keep_I).tolist()

        expected = proposed(Exact.build(item_IK.numpy()))
        assert len(expected) == 6 and not set(expected) & set((~keep_I).nonzero().squeeze(1).tolist())
        assert proposed(Growing.build(item_IK.numpy())) == expected


class TestCandidates:
    @pytest.mark.parametrize("user", [101, -7])
    @pytest.mark.parametrize("count", [1, 7, 25])
    def test_are_those_of_the_highest_cosine(self, fitted: Fitted, user: int, count: int):
        ranked = fitted.recommend(user_id=user, k=100).sort("met", descending=True)
        listed = altered(fitted, candidates=count).recommend(user_id=user, k=100)
        assert set(listed["item_id"]) == set(ranked["item_id"].head(count))
        expected = ranked.head(count).sort("score", descending=True)
        np.testing.assert_allclose(listed["score"], expected["score"], rtol=1e-6)

    def test_are_all_items_where_these_are_no_more(self, fitted: Fitted):
        assert altered(fitted, candidates=10**6).recommend(user_id=101).equals(fitted.recommend(user_id=101))

    def test_are_of_what_may_be_listed(self, fitted: Fitted):
        options = {"user_id": 101, "where": "item_id % 2 = 0", "k": 100}
        ranked = fitted.recommend(**options).sort("met", descending=True)["item_id"]
        assert set(altered(fitted, candidates=5).recommend(**options)["item_id"]) == set(ranked.head(5))

    def test_what_rules_leave_out_is_not_proposed(self, fitted: Fitted):
        rules = (Exclude(items=tuple(fitted.recommend(user_id=101, k=3)["item_id"])), Where(condition="item_id % 2 = 0"))
        ranked = fitted.recommend(user_id=101, k=100, rules=rules).sort("met", descending=True)["item_id"]
        assert set(altered(fitted, candidates=5, rules=rules).recommend(user_id=101, k=100)["item_id"]) == set(ranked.head(5))

    def test_new_items_are_lifted_like_in_the_prediction(self, fitted: Fitted):
        changed = altered(fitted, candidates=9)
        changed.recommend(user_id=101)
        new = pl.DataFrame({"item_id": [-1, -2, 12], "genres": [["war"], ["drama"], ["comedy", "war"]]})
        changed = changed.with_items(new)
        unlimited = altered(changed, candidates=None)
        ranked = unlimited.recommend(user_id=101, k=100).sort("met", descending=True)["item_id"]
        assert set(changed.recommend(user_id=101, k=100)["item_id"]) == set(ranked.head(9))
        assert {-1, -2} & set(ranked.head(9))

    def test_events_move_them(self, fitted: Fitted):
        events = pl.DataFrame({"item_id": [5, 12, 19, 26], "rating": [5] * 4, "timestamp": range(9000, 9004)})
        options = {"user_id": 101, "k": 100, "events": events}
        ranked = fitted.recommend(**options).sort("met", descending=True)["item_id"]
        assert set(altered(fitted, candidates=6).recommend(**options)["item_id"]) == set(ranked.head(6))

    def test_without_a_task_that_proposes_are_refused(self):
        with pytest.raises(ValueError, match="`candidates` needs a Retrieval task, which proposes them"):
            declare(candidates=5, tasks=(Binary(name="like", label="rating >= 4"),), fusion=Multiply())


class TestRules:
    def test_of_the_request_follow_those_of_the_declaration(self, fitted: Fitted):
        ruled = altered(fitted, rules=(AtMost(count=3, column="genres"),))
        genres = ruled.recommend(user_id=101, k=100, columns=["genres"])["genres"].explode()
        assert genres.value_counts()["count"].max() == 3
        last = fitted.recommend(user_id=101, k=100)["item_id"][-1]
        pinned = ruled.recommend(user_id=101, k=5, rules=[Pinned(items={2: last})])
        assert pinned["item_id"][1] == last
        assert "propensity" not in pinned.columns

    def test_a_pinned_item_need_not_be_proposed(self, fitted: Fitted):
        last = fitted.recommend(user_id=101, k=100).sort("met")["item_id"][0]
        few = altered(fitted, candidates=5, rules=(Pinned(items={1: last}),))
        assert few.recommend(user_id=101, k=3)["item_id"][0] == last

    def test_chance_has_a_propensity_and_a_seed(self, fitted: Fitted):
        rules = [EpsilonGreedy(epsilon=0.5, pool=10)]
        lists = [fitted.recommend(user_id=101, k=5, rules=rules, seed=seed) for seed in (0, 0, 1, 2, 3)]
        assert lists[0].equals(lists[1])
        assert len({tuple(listed["item_id"]) for listed in lists}) > 1
        assert set(lists[0]["propensity"].round(6)) <= {0.55, 0.05}
        scores = dict(fitted.recommend(user_id=101, k=100).select("item_id", "score").iter_rows())
        assert all(scores[item] == score for item, score in lists[2].select("item_id", "score").iter_rows())

    def test_likeness_is_that_of_the_vectors_of_the_task(self, fitted: Fitted):
        listed = fitted.recommend(user_id=101, k=10, rules=[Diversify(weight=1.0)])["item_id"]
        plain = fitted.recommend(user_id=101, k=10)["item_id"]

        def likeness(items: pl.Series) -> float:
            vectors = fitted.catalogue.unit_vectors(fitted.catalogue.rows(items))
            np.testing.assert_allclose(vectors.norm(dim=1), 1, rtol=1e-5)
            return float((vectors @ vectors.T).mean())

        assert likeness(listed) < likeness(plain)

    def test_a_pin_without_effect_warns(self, fitted: Fitted):
        with pytest.warns(UserWarning, match="'nothing', pinned to position 1, is not among the candidates"):
            fitted.recommend(user_id=101, rules=[Pinned(items={1: "nothing"})])


class TestWeights:
    def test_are_those_of_the_request(self, fitted: Fitted):
        other = altered(fitted, fusion=Multiply(powers={"like": 3.0, "met": 2.0}))
        assert fitted.recommend(user_id=101, weights={"like": 3.0}).equals(other.recommend(user_id=101))
        assert np.array_equal(fitted.score(101, [5, 12], weights={"like": 3.0}), other.score(101, [5, 12]))

    def test_of_no_name_are_refused(self, fitted: Fitted):
        with pytest.raises(UserError, match="weight 'lik' of the fusion.*Did you mean 'like'"):
            fitted.recommend(user_id=101, weights={"lik": 1.0})


def test_the_best_come_first_and_of_equal_ones_the_earlier(fitted: Fitted):
    from polyrec.predict.outputs import best_first

    generator = torch.Generator().manual_seed(0)
    for size in (1, 5, 50):
        scores = torch.randint(4, (size,), generator=generator).double()
        order = torch.argsort(scores, descending=True, stable=True)
        for k in (1, 3, size):
            assert torch.equal(best_first(scores, k), order[:k])
