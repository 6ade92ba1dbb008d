"""Formula: its arithmetic is numpy's, and whatever is no formula is named and never run."""

import json
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrec import Add, Binary, Categorical, Formula, Recommender, Regression, UserError
from polyrec.fusion.arithmetic import FUNCTIONS, LONGEST
from polyrec.fusion.formula import LAST

ROWS = 7
LIKE, STARS = np.linspace(0.0, 1.0, ROWS), np.linspace(-1.0, 5.0, ROWS)[::-1].copy()
PREDICTIONS = {"like": torch.from_numpy(LIKE), "stars": torch.from_numpy(STARS)}

LEAVES = st.one_of(
    st.sampled_from([("like", LIKE), ("stars", STARS), ("w", np.float64(0.5))]),
    st.floats(0, 9, allow_subnormal=False).map(lambda value: (repr(value), np.float64(value))),
)


def combined(parts: st.SearchStrategy) -> st.SearchStrategy:
    """Return texts of operations on parts, each with the value that numpy gives it."""
    one = st.sampled_from(["log", "log1p", "exp", "sqrt", "abs"])
    return st.one_of(
        st.tuples(parts, parts).map(lambda p: (f"({p[0][0]} + {p[1][0]})", p[0][1] + p[1][1])),
        st.tuples(parts, parts).map(lambda p: (f"({p[0][0]} - {p[1][0]})", p[0][1] - p[1][1])),
        st.tuples(parts, parts).map(lambda p: (f"{p[0][0]} * {p[1][0]}", p[0][1] * p[1][1])),
        st.tuples(parts, parts).map(lambda p: (f"({p[0][0]}) / ({p[1][0]})", p[0][1] / p[1][1])),
        st.tuples(parts, st.integers(0, 3)).map(lambda p: (f"({p[0][0]}) ** {p[1]}", p[0][1] ** p[1])),
        st.tuples(one, parts).map(lambda p: (f"{p[0]}({p[1][0]})", getattr(np, p[0])(p[1][1]))),
        parts.map(lambda p: (f"(-{p[0]})", -p[1])),
        parts.map(lambda p: (f"sigmoid({p[0]})", 1 / (1 + np.exp(-p[1])))),
        st.tuples(parts, parts).map(lambda p: (f"max({p[0][0]}, {p[1][0]})", np.maximum(p[0][1], p[1][1]))),
        st.tuples(parts, parts, parts).map(lambda p: (f"min({', '.join(t for t, _ in p)})", np.min(aligned(p), axis=0))),
        parts.map(lambda p: (f"clip({p[0]}, 0.5, 2)", np.clip(p[1], 0.5, 2))),
    )


def aligned(parts: tuple) -> np.ndarray:
    return np.stack([np.broadcast_to(value, ROWS) for _, value in parts])


with np.errstate(all="ignore"):
    EXPRESSIONS = st.recursive(LEAVES, combined, max_leaves=6).filter(lambda pair: "like" in pair[0] and len(pair[0]) < LONGEST)


@given(data=st.data())
def test_is_what_numpy_makes_of_the_same_operations(data: st.DataObject):
    with np.errstate(all="ignore"):
        text, expected = data.draw(EXPRESSIONS)
    weights = {"w": 0.5} if "w" in text else {}
    scores = Formula(expression=text, weights=weights).score(PREDICTIONS).numpy()
    np.testing.assert_allclose(scores, np.where(np.isfinite(expected), expected, LAST), rtol=1e-9, atol=1e-12)


def test_a_row_without_a_finite_value_ranks_last_and_can_be_written_as_json():
    scores = Formula(expression="log(like) + sqrt(stars) + 1e300 * 1e300 * like").score(
        {"like": torch.tensor([0.0, 0.5, 0.0]), "stars": torch.tensor([1.0, -1.0, 1.0])}
    )
    assert scores.tolist() == [LAST] * 3
    some = Formula(expression="log(like)").score({"like": torch.tensor([0.5, 0.0, 0.9])})
    assert some.argsort(descending=True).tolist() == [2, 0, 1]
    json.dumps(some.tolist(), allow_nan=False)


def test_a_task_whose_name_is_no_python_name_stands_in_quotes():
    formula = Formula(expression="'add to cart' * 2")
    formula.check(["add to cart"], ["add to cart"])
    assert formula.score({"add to cart": torch.tensor([0.5])}).tolist() == [1.0]


def test_of_a_sum_is_the_sum():
    sums = Add(weights={"like": 0.3, "stars": -2.0}).score(PREDICTIONS)
    torch.testing.assert_close(Formula(expression="0.3 * like - 2 * stars").score(PREDICTIONS), sums, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("like +", "cannot be parsed"),
        ("", "cannot be parsed"),
        ("lgo(like)", "'lgo' in 'lgo(like)' is not a function of formulas. Did you mean 'log'?"),
        ("like.real", "'like.real' is not allowed in a formula"),
        ("__import__('os').system('true')", "is not allowed in a formula"),
        ("like if stars else 2", "is not allowed in a formula"),
        ("like > 2", "'like > 2' is not allowed in a formula"),
        ("like // 2", "is not allowed"),
        ("like @ stars", "is not allowed"),
        ("+like", "is not allowed"),
        ("[like]", "is not allowed"),
        ("(x := like)", "is not allowed"),
        ("lambda: like", "is not allowed"),
        ("max(*like, 2)", "'*like' is not allowed"),
        ("min(like, key=stars)", "is not allowed"),
        ("log(like)(stars)", "is not allowed"),
        ("f'{like}'", "is not allowed"),
        ("like * True", "'True' is not allowed"),
        ("like * 2j", "'2j' is not allowed"),
        ("like * b'2'", "is not allowed"),
        ("max(like)", "max takes 2 or more arguments, not 1"),
        ("log(like, 2)", "log takes 1 arguments, not 2"),
        ("like * 1e999", "'1e999' is not a finite number"),
        ("like ** 1e9", "the power in 'like ** 1e9' is higher than 64"),
        ("like ** -65", "the power in 'like ** -65' is higher than 64"),
        ("9 ** 9 ** 99", "higher than 64"),
        ("1 + 2", "names no task"),
        ("(" * 300 + "like" + ")" * 300, "cannot be parsed"),
        ("-" * 900 + "like", "more than 40 operations are nested"),
        ("like" + " + like" * 500, "at most 1000 characters, this one has 3,504"),
        ("like * " + "9" * 900, "is not a finite number"),
        ("like \x00", "cannot be parsed"),
    ],
)
def test_what_is_no_formula_is_named(text: str, message: str):
    began = time.monotonic()
    with pytest.raises(ValidationError) as caught:
        Formula(expression=text)
    assert message in str(caught.value)
    assert time.monotonic() - began < 1


@given(text=st.text(alphabet="like strw0.9+-*/()_,'[]", max_size=40))
def test_any_text_is_a_formula_or_refused(text: str):
    try:
        formula = Formula(expression=text)
    except ValidationError:
        return
    assert formula.score(dict.fromkeys(formula.names(), PREDICTIONS["like"])).shape == (ROWS,)


def test_every_function_has_a_place_in_the_reference():
    assert all(name in Formula.__doc__ for name in FUNCTIONS)


def declared(**fields: object) -> Recommender:
    tasks = (Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating"))
    return Recommender(item=(Categorical(name="item_id"),), tasks=tasks, fusion=Formula(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"expression": "likes * 2"}, "'likes' in the formula 'likes . 2': expected a task or a weight.*Did you mean 'like'"),
        ({"expression": "2 * like * wheight", "weights": {}}, "'wheight'.*Known: "),
        (
            {"expression": "like * stars", "weights": {"stars": 1.0}},
            "weight 'stars' of the formula: expected a name that no task has",
        ),
        ({"expression": "like * w", "weights": {"v": 1.0}}, "weight 'v' does not occur"),
        ({"expression": "like", "weights": {"w": float("nan")}}, "finite number"),
    ],
)
def test_mistakes_are_named_in_the_declaration(fields: dict, message: str):
    with pytest.raises((ValidationError, UserError), match=message):
        declared(**fields)


def test_named_weights_can_be_set_and_survive_yaml():
    formula = declared(expression="like ** 2 * log1p(stars) - w * stars", weights={"w": 0.5}).fusion
    changed = formula.with_weights({"w": 2}, ["like", "stars"])
    assert changed.weights == {"w": 2.0}
    assert Recommender.from_yaml(declared(**changed.model_dump()).to_yaml()).fusion == changed
