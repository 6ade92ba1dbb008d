"""Ranges and objectives as the command line writes them."""

import pytest

from polyrec import Binary, Categorical, MMoE, Recommender, Regression, UserError
from polyrec.ranges.choice import Choice
from polyrec.ranges.integers import Integers
from polyrec.ranges.range import Range
from polyrec.ranges.uniform import Uniform
from polyrec.tune.objective import judged_by, read_objectives
from polyrec.tune.options import read_ranges

SPEC = Recommender(
    item=(Categorical(name="item_id", width=8),),
    tasks=(Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating")),
    network=MMoE(experts=2),
)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("training.learning_rate=1e-4..1e-2:log", Uniform(low=1e-4, high=1e-2, log=True)),
        ("training.warmup=0..1", Uniform(low=0, high=1)),
        ("balancing.weights.like=1..10", Uniform(low=1, high=10)),
        ("network.dropout=.1..0.5", Uniform(low=0.1, high=0.5)),
        ("network.experts=2..16", Integers(low=2, high=16)),
        ("training.batch_size=64..4096:log", Integers(low=64, high=4096, log=True)),
        ("network=MMoE,SharedBottom", Choice(options=("MMoE", "SharedBottom"))),
        ("network={kind: MMoE, experts: 4}, SharedBottom", Choice(options=({"kind": "MMoE", "experts": 4}, "SharedBottom"))),
        ("tasks.like.tower=[64],[128, 64]", Choice(options=([64], [128, 64]))),
        ("training.learning_rate=1e-3,1e-2", Choice(options=(1e-3, 1e-2))),
        ("training.gradient_clip=null,1.0", Choice(options=(None, 1.0))),
    ],
)
def test_a_range_is_read(option: str, expected: Range):
    assert read_ranges(SPEC, [option]) == {option.split("=")[0]: expected}


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("training.learning_rate", "no PATH=VALUES"),
        ("training.learning_rate=a..b", "'a', which is no number"),
        ("training.learning_rate=1..2:lin", "the ending 'lin'"),
        ("training.learning_rate=2.0..1.0", "from low to high"),
        ("network=MMoE", "at least 2"),
        ("network=[MMoE", "while parsing"),
    ],
)
def test_a_range_that_is_none_is_refused(option: str, found: str):
    with pytest.raises(UserError, match="option --range") as caught:
        read_ranges(SPEC, [option])
    assert found in str(caught.value)


def test_objectives_know_which_way_is_better():
    told = read_objectives(SPEC, ["like.auc", "stars.rmse", "like.skill"])
    assert [(own.name, own.higher_is_better) for own in told] == [
        ("like.auc", True),
        ("stars.rmse", False),
        ("like.skill", True),
    ]
    assert [own.name for own in read_objectives(SPEC, [])] == ["utility"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["like.acu"], "Did you mean 'like.auc'"),
        (["like.auc", "like.auc"], "each once"),
        (["like.auc", "like.ece", "stars.rmse", "stars.mae"], "three at most"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(names: list[str], why: str):
    with pytest.raises(UserError, match=why):
        read_objectives(SPEC, names)


def test_validation_is_made_to_tell_what_it_does_not_tell_of_itself():
    judged = judged_by(SPEC, read_objectives(SPEC, ["like.log_loss", "stars.rmse"]))
    assert judged.training.watch == ("like.log_loss", "stars.rmse")
    assert judged == SPEC.replace(training=judged.training)
    assert judged_by(SPEC, read_objectives(SPEC, ["utility"])) == SPEC
