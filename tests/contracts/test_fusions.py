"""What every fusion keeps, and values pinned."""

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrec import Add, Multiply, UserError
from polyrec.fusion.context import Context
from polyrec.fusion.fusion import Fusion, State

TASKS = ("like", "stars")
ROWS = 12


def predictions(seed: int = 0, rows: int = ROWS) -> dict[str, Tensor]:
    """Return a probability and a number of stars a row."""
    generator = torch.Generator().manual_seed(seed)
    return {"like": torch.rand(rows, generator=generator), "stars": 1 + 4 * torch.rand(rows, generator=generator)}


def context(fusion: Fusion, seed: int = 0, rows: int = ROWS) -> Context:
    """Return the hidden states and the vectors of features that a fusion reads beside the predictions, and no others."""
    generator = torch.Generator().manual_seed(seed + 1)
    states = {task: torch.randn(rows, 37, generator=generator).relu() for task in fusion.states_of(TASKS)}
    features = {name: torch.randn(rows, 5, generator=generator) for name in fusion.features_of()}
    return Context(states, features, {name: torch.zeros(1, 5) for name in features})


@cache
def learned(declared: str) -> State:
    """Return what a fusion, given as YAML, learns from rows that are liked and starred as predicted."""
    rows, fusion = predictions(99, 400), Fusion.from_yaml(declared)
    drawn = torch.rand(400, generator=torch.Generator().manual_seed(1))
    labels = {"like": (drawn < rows["like"]).double(), "stars": (rows["stars"].double() + drawn).round()}
    known = torch.ones(400, dtype=torch.bool)
    lessons = {task: (known, label) for task, label in labels.items()}
    return fusion.fit(rows, lessons, {"like"}, context(fusion, 99, 400))


def score(fusion: Fusion, given: dict[str, Tensor], requests: Tensor | None = None, beside: Context | None = None) -> Tensor:
    """Return the scores of a fusion that has learned what it learns, beside the context of seed 0 unless told otherwise."""
    beside = context(fusion) if beside is None else beside
    return fusion.score(given, requests, learned(fusion.to_yaml()) if fusion.learns else None, beside)


def scored_in(fusion: Fusion, whole: dict[str, Tensor], rows: Tensor) -> Tensor:
    """Return the scores of some rows that stand alone."""
    return score(fusion, {task: values[rows] for task, values in whole.items()}, None, context(fusion).at(rows))


def positive(fusion: Fusion) -> list[str]:
    """Return the tasks that an example ranks up: those that it names, unless their weight is below zero."""
    weights = fusion.weights_among(TASKS)
    return [task for task in fusion.names() or TASKS if weights.get(task, 1.0) > 0]


def test_a_score_a_row_in_double_precision(fusion: Fusion):
    scores = score(fusion, predictions())
    assert scores.shape == (ROWS,)
    assert scores.dtype == torch.float64
    assert torch.isfinite(scores).all()


@given(seed=st.integers(0, 10**6), row=st.integers(0, ROWS - 1), factor=st.floats(1.01, 100))
def test_more_of_what_is_wanted_ranks_higher(fusion: Fusion, seed: int, row: int, factor: float):
    assert positive(fusion)
    for task in positive(fusion):
        before = predictions(seed)
        before[task] += 0.01
        after = {**before, task: before[task].clone()}
        after[task][row] *= factor
        then, now = score(fusion, before), score(fusion, after)
        assert (now < now[row]).sum() >= (then < then[row]).sum()
        assert fusion.compares_rows or fusion.learns or now[row] > then[row]


@given(seed=st.integers(0, 10**6), order=st.permutations(range(ROWS)))
def test_the_order_of_rows_does_not_matter(fusion: Fusion, seed: int, order: list[int]):
    whole = predictions(seed)
    assert torch.equal(scored_in(fusion, whole, torch.tensor(order)), score(fusion, whole)[order])


@given(seed=st.integers(0, 10**6), cut=st.integers(1, ROWS - 1))
def test_requests_do_not_see_each_other(fusion: Fusion, seed: int, cut: int):
    whole = predictions(seed)
    scores = score(fusion, whole, torch.tensor([7] * cut + [3] * (ROWS - cut)))
    for part in torch.arange(ROWS).split([cut, ROWS - cut]):
        assert torch.equal(scores[part], scored_in(fusion, whole, part))


@given(seed=st.integers(0, 10**6))
def test_a_row_alone_scores_as_among_others_unless_rows_are_compared(fusion: Fusion, seed: int):
    whole = predictions(seed)
    alone = torch.cat([scored_in(fusion, whole, row) for row in torch.arange(ROWS).split(1)])
    assert torch.equal(alone, score(fusion, whole)) is not fusion.compares_rows


def test_features_that_are_the_same_in_all_rows_may_come_once(fusion: Fusion):
    of_one = context(fusion, rows=1).features
    once = Context(context(fusion).states, of_one)
    repeated = Context(once.states, {name: vectors.expand(ROWS, -1) for name, vectors in of_one.items()})
    assert torch.equal(score(fusion, predictions(), None, once), score(fusion, predictions(), None, repeated))


def test_the_weights_of_users_have_the_names_and_signs_of_the_weights(fusion: Fusion):
    state = learned(fusion.to_yaml()) if fusion.learns else None
    common, weights = fusion.weights_among(TASKS), fusion.weights_of(TASKS, state, context(fusion))
    assert weights.keys() == common.keys()
    for name, value in common.items():
        assert (weights[name].sign() == torch.tensor(value).sign()).all()


def test_the_order_of_tasks_does_not_matter(fusion: Fusion):
    whole = predictions()
    torch.testing.assert_close(score(fusion, {task: whole[task] for task in reversed(TASKS)}), score(fusion, whole))


def test_a_task_that_it_names_must_be_there(fusion: Fusion):
    fusion.check(TASKS, TASKS)
    others = ("likes", "starz")
    if fusion.names():
        with pytest.raises(UserError, match=r"no such task. Did you mean '(likes|starz)'"):
            fusion.check(others, others)
    else:
        fusion.check(others, others)


def test_a_task_that_it_names_must_be_one_number_a_row(fusion: Fusion):
    if fusion.names():
        with pytest.raises(UserError, match="a task with several outputs"):
            fusion.check(("seconds",), (*TASKS, "seconds"))
    else:
        fusion.check(("seconds",), (*TASKS, "seconds"))


def test_every_weight_can_be_set(fusion: Fusion):
    for name, value in fusion.weights_among(TASKS).items():
        changed = fusion.with_weights({name: value + 0.25}, TASKS)
        assert type(changed) is type(fusion)
        assert changed.weights_among(TASKS) == {**fusion.weights_among(TASKS), name: value + 0.25}
        assert not torch.equal(score(changed, predictions()), score(fusion, predictions()))


def test_the_weights_as_they_are_change_nothing(fusion: Fusion):
    same = fusion.with_weights(fusion.weights_among(TASKS), TASKS)
    assert torch.equal(score(same, predictions()), score(fusion, predictions()))


def test_mistakes_in_weights_are_named(fusion: Fusion):
    for name in fusion.weights_among(TASKS):
        with pytest.raises(UserError, match=f"expected the name of a weight, found none. Did you mean '{name}'"):
            fusion.with_weights({f"{name}z": 1.0}, TASKS)
        for wrong in (float("nan"), float("inf"), "1", None, True):
            with pytest.raises(UserError, match=f"weight '{name}' of the fusion: expected a finite number"):
                fusion.with_weights({name: wrong}, TASKS)


class TestAdd:
    def test_is_the_weighted_sum_of_the_tasks_named(self):
        given_values = {"like": torch.tensor([0.5, 0.25]), "stars": torch.tensor([4.0, 2.0]), "cost": torch.tensor([9.0, 9.0])}
        assert Add(weights={"like": 2.0, "stars": -0.5}).score(given_values).tolist() == [-1.0, -0.5]

    def test_with_no_weights_is_the_sum_of_all(self):
        assert Add().score({"like": torch.tensor([0.5]), "stars": torch.tensor([4.0])}).tolist() == [4.5]


class TestMultiply:
    @pytest.mark.parametrize(
        ("powers", "score"),
        [
            ({"like": 0.0, "stars": 0.0}, 1.0),
            ({"like": 1.0, "stars": 0.0}, 0.5),
            ({"like": 2.0, "stars": 0.5}, 0.5),
            ({"like": -1.0, "stars": 1.0}, 8.0),
            ({"stars": 1.0}, 4.0),
            ({}, 2.0),
        ],
    )
    def test_is_the_product_of_powers(self, powers: dict[str, float], score: float):
        given_values = {"like": torch.tensor([0.5]), "stars": torch.tensor([4.0])}
        assert Multiply(powers=powers).score(given_values).item() == pytest.approx(score, rel=1e-12)

    @pytest.mark.parametrize("value", [0.0, -3.0, 1e-12])
    def test_reads_what_is_not_positive_as_the_smallest(self, value: float):
        assert Multiply(powers={"stars": 1.0}).score({"stars": torch.tensor([value])}).item() == pytest.approx(1e-9, rel=1e-12)

    @given(seed=st.integers(0, 10**6))
    def test_ranks_as_the_sum_of_logarithms_does(self, seed: int):
        whole = predictions(seed)
        logarithms = {task: values.double().log() for task, values in whole.items()}
        weights = {"like": 1.0, "stars": 0.5}
        product, total = Multiply(powers=weights).score(whole), Add(weights=weights).score(logarithms)
        torch.testing.assert_close(product.log(), total)
