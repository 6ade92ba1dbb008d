"""What every range keeps: it proposes values of its own, it tells its ends, and they survive YAML."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrec.core.spec import kinds
from polyrec.ranges.choice import Choice
from polyrec.ranges.integers import Integers
from polyrec.ranges.range import Range
from polyrec.ranges.uniform import Uniform

EVERY = [
    pytest.param(kind(**example), id=f"{name}{place}")
    for name, kind in kinds("ranges").items()
    for place, example in enumerate(kind.examples)
]


class Drawn:
    """A sampler that draws evenly."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        value = np.exp(self.generator.uniform(np.log(low), np.log(high))) if log else self.generator.uniform(low, high)
        return float(np.clip(value, low, high))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return int(self.generator.integers(low, high + 1))

    def suggest_categorical(self, name: str, choices: Sequence[object]) -> object:
        return choices[self.generator.integers(len(choices))]


@pytest.mark.parametrize("choices", EVERY)
@given(seed=st.integers(0, 10**6))
def test_a_proposal_lies_between_the_ends(choices: Range, seed: int):
    value = choices.suggest("x", Drawn(seed))
    ends = choices.ends()
    assert value in ends or (not isinstance(choices, Choice) and ends[0] <= value <= ends[-1])


class Recording:
    """A sampler that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked.append(("float", name, low, high, log))
        return low

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.asked.append(("int", name, low, high, log))
        return low

    def suggest_categorical(self, name: str, choices: Sequence[object]) -> object:
        self.asked.append(("categorical", name, tuple(choices)))
        return choices[-1]


@pytest.mark.parametrize(
    ("choices", "asked", "proposal"),
    [
        (Uniform(low=0.25, high=0.5), ("float", "x", 0.25, 0.5, False), 0.25),
        (Uniform(low=1e-4, high=1e-2, log=True), ("float", "x", 1e-4, 1e-2, True), 1e-4),
        (Integers(low=-2, high=16), ("int", "x", -2, 16, False), -2),
        (Integers(low=8, high=256, log=True), ("int", "x", 8, 256, True), 8),
        (Choice(options=("a", (64,))), ("categorical", "x", ("a", "[64]")), (64,)),
    ],
    ids=repr,
)
def test_the_sampler_is_asked_once_for_what_was_declared(choices: Range, asked: tuple[object, ...], proposal: object):
    sampler = Recording()
    assert choices.suggest("x", sampler) == proposal
    assert sampler.asked == [asked]


@pytest.mark.parametrize("choices", EVERY)
def test_a_proposal_is_a_json_value(choices: Range):
    value = choices.suggest("x", Drawn(0))
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("made", "arguments", "why"),
    [
        (Uniform, {"low": 1.0, "high": 1.0}, "from low to high"),
        (Uniform, {"low": 0.0, "high": 1.0, "log": True}, "starts above 0"),
        (Integers, {"low": 5, "high": 2}, "from low to high"),
        (Integers, {"low": 0, "high": 2, "log": True}, "at 1 or above"),
        (Choice, {"options": ["a"]}, "at least 2"),
        (Choice, {"options": ["a", "b", "a"]}, "'?a'? occurs twice"),
    ],
)
def test_a_range_without_a_choice_is_refused(made: type[Range], arguments: dict, why: str):
    with pytest.raises(ValidationError, match=why):
        made(**arguments)


def test_options_are_told_apart_by_their_text():
    choices = Choice(options=("MMoE", {"kind": "MMoE", "experts": 3}, (64,), True, 1))
    assert choices.labels == ("MMoE", '{"experts": 3, "kind": "MMoE"}', "[64]", "true", "1")
