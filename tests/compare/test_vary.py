"""Arms from options: grid and star, names, mistakes."""

import pytest

from polyrec import Binary, Categorical, FixedWeights, MMoE, Recommender, Regression, SharedBottom, Training
from polyrec.compare.vary import make_arms, read_options
from polyrec.core.errors import UserError

SPEC = Recommender(
    features=(Categorical(name="city", width=8),),
    tasks=(Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating")),
    network=MMoE(experts=2, hidden=(16,)),
    training=Training(learning_rate=0.01),
)


def arms(*options: str, one_at_a_time: bool = False):
    return make_arms(SPEC, read_options(options), one_at_a_time)


def names(*options: str, one_at_a_time: bool = False) -> list[str]:
    return [arm.name for arm in arms(*options, one_at_a_time=one_at_a_time)]


def test_without_options_the_declaration_is_the_only_arm():
    (only,) = arms()
    assert only.name == "MMoE · FixedWeights"
    assert only.as_given
    assert only.spec == SPEC


def test_the_grid_holds_all_combinations_and_the_declaration_first():
    grid = arms("network={kind: SharedBottom, hidden: [32]}", "training.learning_rate=0.03", "training.learning_rate=0.1")
    assert len(grid) == 6
    assert [arm.as_given for arm in grid] == [True] + [False] * 5
    assert grid[0].name == "MMoE · learning_rate=0.01"
    assert grid[-1].name == "SharedBottom · learning_rate=0.1"
    assert grid[-1].spec.network == SharedBottom(hidden=(32,))
    assert grid[-1].spec.training.learning_rate == 0.1


def test_the_star_changes_one_field_at_a_time():
    assert names("network=SharedBottom", "training.batch_size=64", one_at_a_time=True) == [
        "MMoE · batch_size=1024",
        "SharedBottom",
        "batch_size=64",
    ]


def test_a_value_that_is_the_declarations_own_makes_no_second_arm():
    assert names("network={kind: MMoE, experts: 2, hidden: [16]}", "network=SharedBottom") == ["MMoE", "SharedBottom"]


def test_names_tell_two_of_a_kind_apart_by_what_differs():
    assert names("network={kind: MMoE, experts: 4, hidden: [16]}", "network={kind: MMoE, experts: 2, hidden: [16, 8]}") == [
        "MMoE(experts=2, hidden=16)",
        "MMoE(experts=4, hidden=16)",
        "MMoE(experts=2, hidden=16-8)",
    ]
    assert names("balancing={kind: FixedWeights, weights: {stars: 2.5}}") == ["FixedWeights", "FixedWeights(stars=2.5)"]


def test_an_element_of_a_list_goes_by_its_name():
    (_, changed) = arms("tasks.stars.tower=[8]")
    assert changed.spec.tasks[1].tower == (8,)
    assert changed.spec.balancing == FixedWeights()


def test_a_field_that_another_choice_removes_is_named_none():
    assert names("balancing.weights.stars=2") == ["stars=none", "stars=2"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("network", "expected FIELD=VALUE"),
        ("network={kind: MMoE", "expected a value in YAML"),
        ("netwrok=MMoE", "Did you mean 'network'?"),
        ("network=MMOE", "Did you mean 'MMoE'?"),
        ("network={kind: MMoE, expert: 3}", "Did you mean 'experts'?"),
        ("training.learning_rat=1", "Did you mean 'learning_rate'?"),
        ("training.learning_rate=-1", "greater than 0"),
        ("training.seed=3", "Use --seeds N"),
        ("tasks.star.tower=[8]", "Did you mean 'stars'?"),
        ("tasks.stars.label=1 + rating", "expected the same tasks and labels"),
    ],
)
def test_a_mistake_is_reported_with_the_nearest_name(option: str, message: str):
    with pytest.raises(UserError) as caught:
        arms(option)
    assert message in str(caught.value)
