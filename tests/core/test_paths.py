"""Dotted paths: a value is read where it was put, the rest stays, and an error for a wrong path names the nearest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrec import Binary, Categorical, FixedWeights, MMoE, Recommender, Regression, SharedBottom, Training, UserError
from polyrec.core.paths import get_path, has_path, with_path

SPEC = Recommender(
    user=(Categorical(name="user_id", width=8),),
    item=(Categorical(name="item_id", width=8),),
    tasks=(Binary(name="like", label="rating >= 4", tower=(8,)), Regression(name="stars", label="rating")),
    network=MMoE(experts=2, hidden=(16, 8)),
    balancing=FixedWeights(weights={"like": 2.0}),
    training=Training(utility={"like.auc": 1.0}),
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "training.learning_rate": st.floats(1e-6, 1.0),
    "training.utility.like.auc": st.floats(-1, 1),
    "training.utility.stars.rmse": st.floats(-1, 1),
    "network.experts": st.integers(1, 9),
    "network.hidden.1": st.integers(1, 9),
    "balancing.weights.like": st.floats(0, 9),
    "balancing.weights.stars": st.floats(0, 9),
    "tasks.stars.dropout": st.floats(0, 0.9),
    "tasks.0.tower": st.lists(st.integers(1, 9)).map(tuple),
    "user.user_id.width": st.integers(1, 9),
}

SETTINGS = st.sampled_from(list(VALUES)).flatmap(lambda path: st.tuples(st.just(path), VALUES[path]))


@given(SETTINGS)
def test_what_is_put_at_a_path_is_found_there(setting: tuple[str, Any]):
    changed = with_path(SPEC, *setting)
    assert get_path(changed, setting[0]) == setting[1]
    assert type(changed) is Recommender


@given(SETTINGS)
def test_putting_back_what_was_there_gives_the_spec_back(setting: tuple[str, Any]):
    path, value = setting
    if path not in ("balancing.weights.stars", "training.utility.stars.rmse"):
        assert with_path(with_path(SPEC, path, value), path, get_path(SPEC, path)) == SPEC


@given(SETTINGS, SETTINGS)
def test_different_paths_do_not_disturb_each_other(first: tuple[str, Any], second: tuple[str, Any]):
    if first[0] != second[0]:
        assert with_path(with_path(SPEC, *first), *second) == with_path(with_path(SPEC, *second), *first)


@given(SETTINGS)
def test_a_changed_spec_survives_yaml(setting: tuple[str, Any]):
    changed = with_path(SPEC, *setting)
    assert Recommender.from_yaml(changed.to_yaml()) == changed


def test_only_what_stands_at_the_path_changes():
    changed = with_path(SPEC, "tasks.stars.dropout", 0.5)
    assert changed == SPEC.replace(tasks=(SPEC.tasks[0], SPEC.tasks[1].replace(dropout=0.5)))
    assert get_path(SPEC, "tasks.stars.dropout") == 0.0


@pytest.mark.parametrize("value", ["SharedBottom", {"kind": "SharedBottom", "hidden": [4]}])
def test_a_kind_is_put_in_as_yaml_writes_it(value: object):
    assert isinstance(get_path(with_path(SPEC, "network", value), "network"), SharedBottom)


def test_a_key_with_a_dot_is_one_key():
    changed = with_path(SPEC, "training.utility.like.auc", 0.5)
    assert changed.training.utility == {"like.auc": 0.5}


@pytest.mark.parametrize(
    ("path", "found", "remedy"),
    [
        ("training.lerning_rate", "no 'lerning_rate'", "Did you mean 'learning_rate'"),
        ("trainig.learning_rate", "no 'trainig'", "Did you mean 'training'"),
        ("tasks.like_.dropout", "no 'like_'", "Did you mean 'like'"),
        ("network.hidden.2", "no '2'", "Known: 0, 1"),
        ("network.experts.more", "found 2", "Shorten it"),
        ("training..seed", "an empty name", "Write 'network.hidden'"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, found: str, remedy: str):
    assert not has_path(SPEC, path)
    for act in (lambda: get_path(SPEC, path), lambda: with_path(SPEC, path, 1)):
        with pytest.raises(UserError, match=found) as caught:
            act()
        assert remedy in str(caught.value)


def test_a_key_that_a_mapping_lacks_can_be_put_but_not_read():
    assert has_path(SPEC, "balancing.weights.stars")
    with pytest.raises(UserError, match="no 'stars'.*Known: like"):
        get_path(SPEC, "balancing.weights.stars")


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("training.learning_rate", -1.0, "greater than 0"),
        ("network.experts", 2.5, "integer"),
        ("network", "MMoEE", "Did you mean 'MMoE'"),
        ("tasks.like.tower", "wide", "tuple"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_the_path_named(path: str, value: object, why: str):
    with pytest.raises(UserError, match=f"^{path} = ") as caught:
        with_path(SPEC, path, value)
    assert why in str(caught.value)
