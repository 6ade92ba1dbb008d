"""The Pareto front against its definition, trial by trial."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyrec.evaluate.front import compromise, pareto_front

VALUES = st.tuples(st.integers(1, 25), st.integers(1, 3)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(-3, 3).map(float))
)


@given(VALUES)
def test_the_front_is_what_no_other_trial_dominates(values: np.ndarray):
    def dominates(rival: np.ndarray, trial: np.ndarray) -> bool:
        return all(a >= b for a, b in zip(rival, trial, strict=True)) and any(a > b for a, b in zip(rival, trial, strict=True))

    expected = [not any(dominates(rival, trial) for rival in values) for trial in values]
    assert pareto_front(values).tolist() == expected


@given(VALUES)
def test_the_compromise_is_on_the_front(values: np.ndarray):
    assert pareto_front(values)[compromise(values)]


@given(VALUES.filter(lambda values: values.shape[1] == 1))
def test_of_one_objective_it_is_the_first_of_the_best(values: np.ndarray):
    assert compromise(values) == int(values[:, 0].argmax())


@given(VALUES, st.lists(st.sampled_from([0.01, 1.0, 1000.0]), min_size=3, max_size=3))
def test_no_unit_outweighs_another(values: np.ndarray, units: list[float]):
    assert np.array_equal(pareto_front(values * units[: values.shape[1]]), pareto_front(values))


def test_by_hand():
    values = np.array([[0.0, 1.0], [0.8, 0.8], [1.0, 0.0], [0.5, 0.5], [0.8, 0.7]])
    assert pareto_front(values).tolist() == [True, True, True, False, False]
    assert compromise(values) == 1
    assert compromise(values * [1, 1000]) == 1
