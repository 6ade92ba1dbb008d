"""What every rule keeps, alone and among others, and what each of them does."""

import time
import tracemalloc
from collections import Counter
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from polyrec import (
    AtMost,
    Binary,
    Categorical,
    Diversify,
    EpsilonGreedy,
    Exclude,
    Pinned,
    PlackettLuce,
    Recommender,
    Retrieval,
    UserError,
    Where,
)
from polyrec.core.spec import kinds
from polyrec.rules.candidates import Candidates, Listed
from polyrec.rules.diversify import Sets
from polyrec.rules.listing import apply_rules, kept
from polyrec.rules.pinned import MOST
from polyrec.rules.rule import Rule, check_rules

GENRES = ("war", "comedy", "drama", None)
FEW = settings(max_examples=20)
TAGS = (["old", "loud"], ["old"], [], None, ["loud", "new", "loud"])


@cache
def catalogue(items: int = 26) -> pl.DataFrame:
    """Return items with the keys a, b, c, …, and for each kind of column that a rule may read one of them."""
    number = range(items)
    return pl.DataFrame(
        {
            "sku": [chr(97 + n % 26) * (1 + n // 26) for n in number],
            "genre": pl.Series([GENRES[n % 4] for n in number], dtype=pl.String),
            "tags": pl.Series([TAGS[n % 5] for n in number], dtype=pl.List(pl.String)),
            "price": [n * 7 % 100 for n in number],
            "year": [1980 + n for n in number],
        }
    )


def candidates(count: int = 12, seed: int = 0, items: int = 26) -> Candidates:
    """Return candidates drawn from the catalogue, the best first, with vectors."""
    generator = np.random.default_rng(seed)
    vectors_ND = generator.standard_normal((count, 6))
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    scores_N = -np.sort(-generator.random(count).round(2))
    rows_N = generator.permutation(items)[:count]
    return Candidates(rows_N, scores_N, catalogue(items), "sku", vectors_ND.astype(np.float32))


def keys(listed: Listed) -> list[str]:
    """Return the keys of what is shown."""
    return catalogue()["sku"].gather(listed.rows_K).to_list()


def ordered(count: int) -> Candidates:
    """Return the first items of the catalogue in order, with scores from 1 down."""
    return Candidates(np.arange(count), 1 - np.arange(count) / count, catalogue(), "sku")


@FEW
@given(seed=st.integers(0, 10**6), count=st.integers(0, 26), k=st.integers(1, 30))
def test_shows_candidates_once_each_with_their_scores(rule: Rule, seed: int, count: int, k: int):
    given_candidates = candidates(count, seed)
    listed = apply_rules([rule], given_candidates, k, seed)
    assert len(set(listed.rows_K.tolist())) == len(listed.rows_K) <= min(count, k)
    score = dict(zip(given_candidates.rows_N.tolist(), given_candidates.scores_N.tolist(), strict=True))
    assert listed.scores_K.tolist() == [score[row] for row in listed.rows_K.tolist()]
    assert listed.scores_K.dtype == listed.propensities_K.dtype == np.float64


@FEW
@given(seed=st.integers(0, 10**6), count=st.integers(0, 26), k=st.integers(1, 30))
def test_the_same_seed_makes_the_same_list(rule: Rule, seed: int, count: int, k: int):
    one, same = (apply_rules([rule], candidates(count, seed), k, seed) for _ in range(2))
    for first, second in ((one.rows_K, same.rows_K), (one.propensities_K, same.propensities_K)):
        np.testing.assert_array_equal(first, second)


@FEW
@given(seed=st.integers(0, 10**6))
def test_without_chance_the_propensity_is_one_whatever_the_seed(rule: Rule, seed: int):
    listed, other = (apply_rules([rule], candidates(), 8, number) for number in (seed, seed + 1))
    assert ((listed.propensities_K > 0) & (listed.propensities_K <= 1)).all()
    if not rule.explores:
        assert (listed.propensities_K == 1).all()
        assert listed.rows_K.tolist() == other.rows_K.tolist()


@FEW
@given(seed=st.integers(0, 10**6), count=st.integers(1, 26))
def test_the_odds_at_a_position_sum_to_one(rule: Rule, seed: int, count: int):
    ranked = candidates(count, seed)
    turn = rule.begin(ranked)
    if turn is not None:
        odds = turn.odds(ranked.scores_N)
        assert odds.sum() == pytest.approx(1, abs=1e-12)
        assert (odds >= 0).all() and len(odds) <= count
        assert rule.explores or odds.tolist() == [1.0]


@FEW
@given(seed=st.integers(0, 10**6), k=st.integers(1, 12))
def test_a_shorter_list_is_the_beginning_of_a_longer_one(rule: Rule, seed: int, k: int):
    if not rule.pins:
        short, long = (apply_rules([rule], candidates(seed=seed), length, seed) for length in (k, 12))
        assert short.rows_K.tolist() == long.rows_K.tolist()[:k]


def test_a_column_that_the_catalogue_lacks_is_refused(rule: Rule):
    bare = Candidates(np.arange(3), np.array([3.0, 2.0, 1.0]), catalogue().select("sku"), "sku", np.eye(3, dtype=np.float32))
    if rule.columns:
        with pytest.raises(UserError, match=rf"rule {type(rule).__name__} .* no such column"):
            apply_rules([rule], bare, 2)
    else:
        assert 1 <= len(apply_rules([rule], bare, 2).rows_K) <= 2


LIMIT, CHANCE = AtMost(count=2, column="genre"), PlackettLuce(temperature=0.2, pool=6)
PINNED, CONDITION = Pinned(items={2: "e", 5: "b"}), Where(condition="price < 70")


@FEW
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 20),
    rules=st.permutations((Exclude(items=("c", "d")), CONDITION, LIMIT, Diversify(weight=0.4), CHANCE, PINNED)),
)
def test_together_each_keeps_what_it_promises_in_any_order(seed: int, k: int, rules: list[Rule]):
    listed = apply_rules(rules, candidates(26, seed), k, seed)
    shown = catalogue()[listed.rows_K]
    assert not set(shown["sku"]) & {"c", "d"} and (shown["price"] < 70).all()
    assert all(number <= 2 for genre, number in Counter(shown["genre"]).items() if genre is not None)
    for position, key in PINNED.items.items():
        if len(shown) >= position:
            assert shown["sku"][position - 1] == key
            assert listed.propensities_K[position - 1] == 1


@pytest.mark.parametrize(
    "rules",
    [
        (EpsilonGreedy(epsilon=0.4, pool=3),),
        (PlackettLuce(temperature=0.3),),
        (PlackettLuce(temperature=0.3, pool=2), AtMost(count=1, column="genre")),
        (Diversify(weight=0.5, column="tags"), EpsilonGreedy(epsilon=0.7), Pinned(items={2: "b"})),
    ],
    ids=lambda rules: "-".join(type(rule).__name__ for rule in rules),
)
def test_lists_are_as_frequent_as_their_propensities_say(rules: tuple[Rule, ...]):
    draws, ranked = 1000, ordered(5)
    seen: Counter[tuple[int, ...]] = Counter()
    propensity: dict[tuple[int, ...], float] = {}
    for seed in range(draws):
        listed = apply_rules(rules, ranked, 3, seed)
        shown = tuple(listed.rows_K.tolist())
        seen[shown] += 1
        assert propensity.setdefault(shown, listed.propensities_K.prod()) == listed.propensities_K.prod()
    often = [shown for shown, odds in propensity.items() if odds * draws >= 5]
    rest = 1 - sum(propensity[shown] for shown in often)
    observed = [*(seen[shown] for shown in often), draws - sum(seen[shown] for shown in often)]
    expected = [*(draws * propensity[shown] for shown in often), draws * rest]
    if rest < 1e-9:
        observed, expected = observed[:-1], expected[:-1]
    assert len(often) >= 3
    assert chisquare(observed, expected).pvalue > 1e-3


def test_no_rule_shows_the_best_in_order():
    listed = apply_rules([], ordered(5), 3)
    assert keys(listed) == ["a", "b", "c"]
    assert listed.propensities_K.tolist() == [1, 1, 1]


def test_what_rules_let_in_can_be_asked_before_anything_is_scored():
    rules = (Exclude(items=("b",)), Where(condition="price < 20"), AtMost(count=1, column="genre"))
    assert kept(rules, ordered(4)).tolist() == [True, False, True, False]
    assert kept((), ordered(2)).tolist() == [True, True]


def test_two_rules_of_chance_are_refused():
    with pytest.raises(UserError, match="found 2: PlackettLuce, EpsilonGreedy"):
        apply_rules([CHANCE, EpsilonGreedy()], ordered(3), 2)


def test_no_items_are_refused():
    with pytest.raises(UserError, match="1 or more, found 0"):
        apply_rules([], ordered(3), 0)


def test_a_hundred_of_five_hundred_take_well_under_a_millisecond_of_a_quiet_core():
    ranked = candidates(500, items=600)
    rules = (Exclude(items=("b",)), AtMost(count=30, column="genre"), Pinned(items={3: "c"}))
    spent = []
    for _ in range(20):
        started = time.thread_time()
        apply_rules(rules, ranked, 100)
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.004


class TestExclude:
    def test_leaves_out_what_it_names(self):
        assert keys(apply_rules([Exclude(items=("a", "c", "nowhere"))], ordered(5), 3)) == ["b", "d", "e"]

    def test_numbers_are_keys_however_they_are_written(self):
        items = pl.DataFrame({"id": [10, 20, 30]})
        ranked = Candidates(np.arange(3), np.array([3.0, 2.0, 1.0]), items, "id")
        assert apply_rules([Exclude(items=(10, "20"))], ranked, 3).rows_K.tolist() == [2]


class TestWhere:
    def test_shows_what_meets_the_condition_and_null_does_not(self):
        assert keys(apply_rules([Where(condition="genre <> 'war'")], ordered(7), 9)) == ["b", "c", "f", "g"]

    def test_a_constant_is_of_every_item(self):
        assert len(apply_rules([Where(condition="true")], ordered(4), 9).rows_K) == 4
        assert len(apply_rules([Where(condition="false")], ordered(4), 9).rows_K) == 0

    @pytest.mark.parametrize(
        "condition", ["price <", "sku IN (SELECT 1)", "-".join(["price"] * 60_000), "(" * 90 + "price" + ")" * 90]
    )
    def test_no_condition_is_refused_when_it_is_declared(self, condition: str):
        with pytest.raises(ValueError, match="condition of the rule Where"):
            Where(condition=condition)

    @pytest.mark.parametrize("condition", ["'a'", "sku", "tags", "CAST(price AS VARCHAR)"])
    def test_what_is_neither_true_nor_false_is_refused(self, condition: str):
        with pytest.raises(UserError, match="expected a condition, true or false"):
            apply_rules([Where(condition=condition)], ordered(4), 9)


class TestAtMost:
    def test_counts_single_values_and_leaves_null_alone(self):
        listed = apply_rules([AtMost(count=1, column="genre")], ordered(12), 12)
        assert keys(listed) == ["a", "b", "c", "d", "h", "l"]

    def test_counts_each_value_of_a_list(self):
        assert keys(apply_rules([AtMost(count=1, column="tags")], ordered(10), 10)) == ["a", "c", "d", "h", "i"]

    def test_pinned_items_count_before_the_others(self):
        listed = apply_rules([AtMost(count=1, column="genre"), Pinned(items={3: "e"})], ordered(8), 4)
        assert keys(listed) == ["b", "c", "e", "d"]

    @FEW
    @given(seed=st.integers(0, 10**6), count=st.integers(1, 4))
    def test_is_the_walk_from_the_top(self, seed: int, count: int):
        ranked, left, expected = candidates(20, seed), Counter(), []
        for row in ranked.rows_N.tolist():
            values = set(catalogue()["tags"][row].to_list() if catalogue()["tags"][row] is not None else [])
            if all(left[value] < count for value in values):
                left.update(values)
                expected.append(row)
        assert apply_rules([AtMost(count=count, column="tags")], ranked, 20).rows_K.tolist() == expected


def marginal(ranked: Candidates, alike_NN: np.ndarray, weight: float) -> list[int]:
    """Return rows by maximal marginal relevance, computed item by item."""
    scaled = (ranked.scores_N - ranked.scores_N.min()) / max(np.ptp(ranked.scores_N), 1e-300)
    chosen: list[int] = []
    while len(chosen) < len(ranked):
        left = [place for place in range(len(ranked)) if place not in chosen]
        gain = [(1 - weight) * scaled[i] - weight * max((float(alike_NN[i, j]) for j in chosen), default=0) for i in left]
        chosen.append(left[int(np.argmax(gain))])
    return ranked.rows_N[chosen].tolist()


class TestDiversify:
    @FEW
    @given(seed=st.integers(0, 10**6), weight=st.floats(0, 1))
    def test_is_maximal_marginal_relevance_by_vectors(self, seed: int, weight: float):
        ranked = candidates(12, seed)
        alike_NN = np.stack([ranked.vectors_ND @ vector for vector in ranked.vectors_ND], 1)
        assert apply_rules([Diversify(weight=weight)], ranked, 12).rows_K.tolist() == marginal(ranked, alike_NN, weight)

    @FEW
    @given(seed=st.integers(0, 10**6), weight=st.sampled_from([0, 0.25, 0.5, 1]), column=st.sampled_from(["genre", "tags"]))
    def test_is_maximal_marginal_relevance_by_sets_of_values(self, seed: int, weight: float, column: str):
        ranked = candidates(12, seed)
        sets = ranked.values(column)
        alike_NN = np.array([[len(a & b) / max(len(a | b), 1) for b in sets] for a in sets])
        assert apply_rules([Diversify(weight=weight, column=column)], ranked, 12).rows_K.tolist() == marginal(
            ranked, alike_NN, weight
        )

    def test_by_a_column_of_many_values_takes_megabytes(self):
        sets = [frozenset([value]) for value in range(20_000)]
        tracemalloc.start()
        codes = Sets.of(sets)
        alike_N = codes.alike(7)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.flatnonzero(alike_N).tolist() == [7] and alike_N[7] == 1
        assert peak < 10 * 2**20

    @FEW
    @given(st.lists(st.frozensets(st.sampled_from(["a", "b", "c", 1, 2.5, True]), max_size=4), min_size=1, max_size=9))
    def test_codes_are_as_alike_as_columns_of_zeros_and_ones(self, sets: list[frozenset]):
        values = list(dict.fromkeys(value for elements in sets for value in elements))
        has_NV = np.array([[value in elements for value in values] for elements in sets], dtype=np.float64).reshape(
            len(sets), -1
        )
        size_N = has_NV.sum(1)
        for place in range(len(sets)):
            shared_N = has_NV @ has_NV[place]
            expected_N = shared_N / np.maximum(size_N + size_N[place] - shared_N, 1)
            np.testing.assert_array_equal(Sets.of(sets).alike(place), expected_N)

    def test_of_weight_zero_keeps_the_ranking(self):
        ranked = candidates(12)
        assert apply_rules([Diversify(weight=0)], ranked, 12).rows_K.tolist() == ranked.rows_N.tolist()

    def test_without_vectors_needs_a_column(self):
        with pytest.raises(UserError, match="vectors of the items, found none. Declare a Retrieval task, or a `column`"):
            apply_rules([Diversify(weight=0.5)], ordered(3), 2)


class TestEpsilonGreedy:
    def test_the_best_has_what_is_not_explored_and_its_share_of_the_rest(self):
        turn = EpsilonGreedy(epsilon=0.4, pool=4).begin(ordered(9))
        assert turn.odds(np.arange(9.0)[::-1]).tolist() == pytest.approx([0.7, 0.1, 0.1, 0.1])
        assert turn.odds(np.array([1.0, 0.0])).tolist() == pytest.approx([0.8, 0.2])

    def test_without_epsilon_is_greedy(self):
        listed = apply_rules([EpsilonGreedy(epsilon=0)], ordered(5), 5, seed=3)
        assert keys(listed) == ["a", "b", "c", "d", "e"] and (listed.propensities_K == 1).all()


class TestPlackettLuce:
    def test_the_probability_of_a_ranking_is_that_of_the_paper(self):
        ranked = ordered(4)
        weight = np.exp(ranked.scores_N / 0.5)
        for seed in range(20):
            listed = apply_rules([PlackettLuce(temperature=0.5)], ranked, 4, seed)
            left = np.cumsum(weight[listed.rows_K][::-1])[::-1]
            np.testing.assert_allclose(listed.propensities_K, weight[listed.rows_K] / left)

    def test_is_the_order_of_scores_with_gumbel_noise(self):
        """Both ways to draw, 2,000 times each: the first item of the list is as often the one or the other (Yellott, 1977)."""
        ranked, draws = ordered(4), 2000
        noise = np.random.default_rng(1).gumbel(size=(draws, 4))
        by_noise = np.bincount((ranked.scores_N / 0.3 + noise).argmax(1), minlength=4)
        rule = PlackettLuce(temperature=0.3)
        by_rule = np.bincount([apply_rules([rule], ranked, 1, seed).rows_K[0] for seed in range(draws)], minlength=4)
        weight = np.exp(ranked.scores_N / 0.3)
        for observed in (by_noise, by_rule):
            assert chisquare(observed, draws * weight / weight.sum()).pvalue > 1e-3

    def test_scores_far_apart_make_no_overflow(self):
        ranked = Candidates(np.arange(3), np.array([1e6, 0.0, -1e6]), catalogue(), "sku")
        listed = apply_rules([PlackettLuce(temperature=1e-3)], ranked, 3)
        assert listed.rows_K.tolist() == [0, 1, 2] and listed.propensities_K.tolist() == [1, 1, 1]


class TestPinned:
    def test_the_others_flow_around(self):
        assert keys(apply_rules([Pinned(items={1: "d", 3: "e"})], ordered(6), 5)) == ["d", "a", "e", "b", "c"]

    def test_what_is_left_out_or_unknown_is_told(self):
        listed = apply_rules([Pinned(items={1: "b", 2: "nowhere", 3: "c"}), Exclude(items=("b",))], ordered(4), 3)
        assert keys(listed) == ["a", "d", "c"]
        assert listed.notes == (
            "item 'b', pinned to position 1, is not among the candidates",
            "item 'nowhere', pinned to position 2, is not among the candidates",
        )

    def test_where_the_others_end_it_moves_up(self):
        assert keys(apply_rules([Pinned(items={9: "a", 7: "b"})], ordered(3), 10)) == ["c", "b", "a"]

    def test_beyond_the_end_of_the_list_an_item_is_one_of_the_others(self):
        assert keys(apply_rules([Pinned(items={4: "a"})], ordered(6), 3)) == ["a", "b", "c"]

    @pytest.mark.parametrize("items", [{1: "a", 2: "a"}, {1: "7", 4: 7}])
    def test_an_item_at_two_positions_is_refused(self, items: dict):
        with pytest.raises(ValueError, match=r"item '(a|7)' pinned once, found twice"):
            Pinned(items=items)

    def test_at_most_a_thousand_are_pinned(self):
        assert len(Pinned(items={place: f"item {place}" for place in range(1, MOST + 1)}).pins) == MOST
        with pytest.raises(ValueError, match=f"at most {MOST} items"):
            Pinned(items={place: f"item {place}" for place in range(1, MOST + 2)})

    def test_many_pins_are_checked_in_one_pass(self):
        """Each pin's text is made once, however many there are."""

        class Counted(int):
            shown = 0

            def __str__(self) -> str:
                Counted.shown += 1
                return int.__repr__(self)

        check_rules([Pinned.model_construct(items={place: Counted(place) for place in range(1, 100_001)})])
        assert Counted.shown == 100_000

    def test_positions_are_counted_from_one(self):
        with pytest.raises(ValueError, match="greater than or equal to 1"):
            Pinned(items={0: "a"})

    def test_two_items_at_one_position_are_refused(self):
        with pytest.raises(UserError, match="position 1 pinned once, found twice"):
            apply_rules([Pinned(items={1: "a"}), Pinned(items={1: "b"})], ordered(3), 2)


def declared(*rules: Rule, tasks: tuple = (Binary(name="like", label="rating >= 4"),), item: bool = True) -> Recommender:
    return Recommender(
        user=(Categorical(name="user_id", width=4),),
        item=(Categorical(name="item_id", width=4),) if item else (),
        tasks=tasks,
        rules=rules,
    )


class TestDeclaration:
    def test_rules_survive_yaml(self):
        every = [
            kind(**kind.examples[0]) for name, kind in kinds("rules").items() if name not in ("EpsilonGreedy", "Diversify")
        ]
        assert Recommender.from_yaml(declared(*every).to_yaml()).rules == tuple(every)

    @pytest.mark.parametrize(
        ("rules", "why"),
        [
            ((EpsilonGreedy(), CHANCE), "at most one that chooses at random"),
            ((Pinned(items={1: "a"}), Pinned(items={1: "b"})), "position 1 pinned once"),
            ((Diversify(weight=0.5),), "rule Diversify compares items by their vectors: declare a Retrieval task"),
        ],
    )
    def test_rules_that_cannot_work_are_refused(self, rules: tuple[Rule, ...], why: str):
        with pytest.raises(ValueError, match=why):
            declared(*rules)

    def test_a_retrieval_task_has_vectors(self):
        spec = declared(
            Diversify(weight=0.5), tasks=(Retrieval(name="met", label="true"), Binary(name="like", label="rating > 3"))
        )
        assert spec.alone("like").rules == ()

    def test_without_items_there_is_nothing_to_list(self):
        with pytest.raises(ValueError, match="`item` has no key"):
            declared(Exclude(items=(3,)), item=False)

    def test_a_column_that_the_catalogue_lacks_is_refused_before_training(self, world: pl.DataFrame):
        with pytest.raises(UserError, match="rule AtMost on the catalogue: expected a column 'seller', found no such column"):
            declared(AtMost(count=2, column="seller")).fit(world, progress=False)
