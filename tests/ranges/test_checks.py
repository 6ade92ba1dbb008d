"""Ranges that a declaration refuses: those that lead nowhere, do not fit, or change what is judged."""

import pytest

from polyrec import Binary, Categorical, MMoE, Recommender, Regression, UserError
from polyrec.core.paths import get_path, with_path
from polyrec.ranges.checks import check_ranges, in_order
from polyrec.ranges.choice import Choice
from polyrec.ranges.integers import Integers
from polyrec.ranges.uniform import Uniform

SPEC = Recommender(
    item=(Categorical(name="item_id", width=8),),
    tasks=(Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating")),
    network=MMoE(experts=2),
)


def test_ranges_that_fit_are_accepted_and_both_their_ends_make_declarations():
    ranges = {
        "training.learning_rate": Uniform(low=1e-4, high=1e-2, log=True),
        "balancing.weights.like": Uniform(low=0.1, high=10, log=True),
        "tasks.like.tower": Choice(options=([64], [128, 64])),
        "network": Choice(options=("MMoE", "SharedBottom")),
        "network.experts": Integers(low=2, high=16),
    }
    check_ranges(SPEC, ranges)
    for path in ranges.keys() - {"network"}:
        ends = [get_path(with_path(SPEC, path, end), path) for end in ranges[path].ends()]
        assert [list(end) if isinstance(end, tuple) else end for end in ends] == list(ranges[path].ends())
    chosen = [type(with_path(SPEC, "network", end).network).__name__ for end in ranges["network"].ends()]
    assert chosen == ["MMoE", "SharedBottom"]


def test_a_part_comes_before_what_lies_below_it():
    assert in_order({"network.experts": Integers(low=1, high=2), "network": Choice(options=("MMoE", "SharedBottom"))}) == [
        "network",
        "network.experts",
    ]


def test_a_range_may_lead_below_an_option_that_is_not_declared():
    plain = SPEC.replace(network="SharedBottom")
    experts = {"network.experts": Integers(low=2, high=16)}
    check_ranges(plain, {"network": Choice(options=("SharedBottom", "MMoE")), **experts})
    with pytest.raises(UserError, match="no 'experts'"):
        check_ranges(plain, experts)


@pytest.mark.parametrize(
    ("path", "choices", "why"),
    [
        ("training.lerning_rate", Uniform(low=0.1, high=1), "Did you mean 'learning_rate'"),
        ("training.learning_rate", Uniform(low=-0.1, high=1), "training.learning_rate = -0.1.*greater than 0"),
        ("network.experts", Uniform(low=1.5, high=2.5), "network.experts = 1.5"),
        ("network", Choice(options=("MMoE", "MMoEE")), "Did you mean 'MMoE'"),
    ],
)
def test_a_range_that_does_not_fit_is_refused(path: str, choices, why: str):
    with pytest.raises(UserError, match=why):
        check_ranges(SPEC, {path: choices})


@pytest.mark.parametrize(
    "path",
    [
        *("tasks", "tasks.like", "tasks.like.label", "tasks.like.name", "relevant", "search", "training.seed"),
        *("training.split", "training.split.fraction", "training.utility.like.auc", "training.refit"),
    ],
)
def test_what_is_judged_is_not_searched(path: str):
    with pytest.raises(UserError, match=f"range of '{path}': .*how it is judged"):
        check_ranges(SPEC, {path: Choice(options=(1, 2))})
