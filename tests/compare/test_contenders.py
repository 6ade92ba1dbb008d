"""Single-task models of equal size, tuned weights, equal budgets."""

import numpy as np
import polars as pl
import pytest

from polyrec import STEM, FixedWeights, HoME, MMoE, Recommender, SharedBottom
from polyrec.compare.contenders import TUNED, factors, make_contenders, weight_trials
from polyrec.compare.fits.tables import split_tables
from polyrec.compare.singles import Counter, single
from polyrec.compare.vary import make_arms, read_options


@pytest.mark.parametrize(
    "network",
    [
        MMoE(experts=4, hidden=(32, 16)),
        MMoE(experts=2, hidden=(16,)),
        SharedBottom(hidden=(64,)),
        HoME(groups=(("like", "stars"), ("interest",)), hidden=(32,)),
        STEM(hidden=(32, 16)),
    ],
)
def test_a_single_task_model_has_as_many_parameters_as_that_of_all_tasks(small: Recommender, world: pl.DataFrame, network):
    spec = small.replace(network=network)
    count = Counter(spec, world)
    for task in spec.tasks:
        alone = single(spec, task, count)
        assert [kept.name for kept in alone.tasks] == [task.name]
        assert alone.network.hidden > network.hidden
        assert type(alone.network) is type(network)
        assert count(alone) == pytest.approx(count(spec), rel=0.05)


def test_parameters_are_counted_as_the_fit_counts_them(small: Recommender, world: pl.DataFrame):
    fitted = small.replace(training=small.training.replace(epochs=1)).fit(world, progress=False)
    tables = sum(table.weight.numel() for table in fitted.model.tables())
    assert Counter(small, world)(small) == fitted.parts.facts.training.parameters - tables


def test_a_single_task_keeps_its_part_of_the_utility(small: Recommender, world: pl.DataFrame):
    training = small.training.replace(utility={"like.auc": 1.0, "stars.rmse": -0.5})
    spec = small.replace(training=training)
    count = Counter(spec, world)
    utilities = [single(spec, task, count).training.utility for task in spec.tasks]
    assert utilities == [{"like.auc": 1.0}, {"stars.rmse": -0.5}, {}]


def test_weights_start_equal_and_have_a_mean_of_one(small: Recommender):
    trials = weight_trials(small, 5)
    assert trials[0].balancing == FixedWeights()
    for trial in trials[1:]:
        assert np.mean(list(trial.balancing.weights.values())) == pytest.approx(1, rel=1e-3)
    assert len({str(trial.balancing) for trial in trials}) == 5
    assert weight_trials(small, 5) == trials


def test_the_step_size_is_tried_on_both_sides():
    assert factors(5) == pytest.approx([1, 1 / 3, 3, 1 / 9, 9])


def test_all_contenders_have_the_same_number_of_trials(small: Recommender, world: pl.DataFrame, tmp_path):
    split = split_tables(small, world, None, 0.25, tmp_path)
    arms = make_arms(small, read_options(["network=SharedBottom"]), False)
    contenders = make_contenders(small, arms, split, 3, boosted=True)
    listed = [(contender.role, contender.name, contender.tasks) for contender in contenders]
    everything = ("like", "stars", "interest")
    assert listed == [
        ("single", "like", ("like",)),
        ("single", "stars", ("stars",)),
        ("single", "interest", ("interest",)),
        ("arm", "MMoE", everything),
        ("arm", "SharedBottom", everything),
        ("weights", TUNED, everything),
        ("boosting", "LightGBM · like", ("like",)),
        ("boosting", "LightGBM · stars", ("stars",)),
    ]
    assert {len(contender.trials) for contender in contenders} == {3}
    assert {len({trial.job.key for trial in contender.trials}) for contender in contenders} == {3}


def test_test_rows_are_held_out_by_the_declarations_split(small: Recommender, world: pl.DataFrame, tmp_path):
    split = split_tables(small, world, None, 0.25, tmp_path)
    assert (split.learn.height, split.test.height) == (4500, 1500)
    again = split_tables(small.replace(training=small.training.replace(seed=7)), world, None, 0.25, tmp_path)
    assert again.test_path == split.test_path
    assert pl.read_parquet(split.test_path).equals(split.test)


def test_given_test_rows_are_taken(small: Recommender, world: pl.DataFrame, tmp_path):
    split = split_tables(small, world[:5000], world[5000:], 0.2, tmp_path)
    assert split.test.equals(world[5000:])
    assert split.learn.equals(world[:5000])


def test_the_key_of_a_job_tells_declarations_and_data_apart(small: Recommender, world: pl.DataFrame, tmp_path):
    split = split_tables(small, world, None, 0.25, tmp_path / "a")
    moved = split_tables(small, world, None, 0.25, tmp_path / "b")
    other = split_tables(small, world[1:], None, 0.25, tmp_path / "a")
    first, same, third = (
        make_contenders(small, [], tables, 1, boosted=False)[0].trials[0].job for tables in (split, moved, other)
    )
    assert first.key == same.key
    assert len({first.key, third.key, first.reseeded(1).key}) == 3
