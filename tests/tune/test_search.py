"""A search over real fits: it finds what is better, goes on where it was cut short, and gives up what is hopeless."""

import json
import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from polyrec import Binary, Categorical, Recommender, Regression, SharedBottom, Training, UserError
from polyrec.ranges.choice import Choice
from polyrec.ranges.range import Range
from polyrec.ranges.uniform import Uniform
from polyrec.tune.objective import read_objectives
from polyrec.tune.outcome import Tuned
from polyrec.tune.search import Search, search
from polyrec.tune.trial import apply
from polyrec.tune.write import write

RATE: dict[str, Range] = {"training.learning_rate": Uniform(low=1e-4, high=1e-1, log=True)}
SPEC = Recommender(
    user=(Categorical(name="user_id", width=8),),
    item=(Categorical(name="item_id", width=8),),
    tasks=(Binary(name="like", label="rating >= 4", tower=()), Regression(name="stars", label="rating", tower=())),
    network=SharedBottom(hidden=(8,)),
    training=Training(epochs=3, batch_size=256, learning_rate=0.003),
)


def job(folder: Path, world: pl.DataFrame, **changes) -> Search:
    objectives = read_objectives(SPEC, changes.pop("objectives", ()))
    given = {"spec": SPEC, "ranges": RATE, "validation": None, "trials": 3, "storage": folder / "study.db", **changes}
    return Search(data=world[:2000], objectives=objectives, **given)


def settings(tuned: Tuned) -> list[tuple[object, ...]]:
    """Return settings and values of the trials that count."""
    return [(dict(t.parameters), t.state, t.values) for t in tuned.trials if t.state != "interrupted"]


def test_the_better_of_two_learning_rates_is_found_and_its_declaration_fits(world: pl.DataFrame, tmp_path: Path):
    ranges = {"training.learning_rate": Choice(options=(1e-6, 0.03))}
    tuned = search(job(tmp_path, world, ranges=ranges, trials=5, prune=False))
    assert tuned.best.parameters == {"training.learning_rate": 0.03}
    assert tuned.declared is not None and tuned.declared.number == 0
    assert {t.parameters.get("training.learning_rate") for t in tuned.trials} == {None, 1e-6, 0.03}
    write(tmp_path, SPEC.replace(search=ranges), tuned)
    best = Recommender.from_yaml(tmp_path / "best.yaml")
    assert best == SPEC.replace(training=SPEC.training.replace(learning_rate=0.03))
    again = best.fit(world[:2000], progress=False).parts.facts.training.validation["utility"]
    assert tuned.best.values == [again]
    told = json.loads((tmp_path / "trials.json").read_text())
    assert told["best"]["values"] == {"utility": again}
    assert len(told["all"]) == 5
    assert "utility by trial" in (tmp_path / "tuning.html").read_text()


def test_more_trials_go_on_where_the_first_ended_and_no_more_are_none(world: pl.DataFrame, tmp_path: Path):
    first = search(job(tmp_path, world, trials=2))
    more = search(job(tmp_path, world, trials=4))
    whole = search(job(tmp_path / "whole", world, trials=4))
    assert settings(more)[:2] == settings(first)
    assert settings(more) == settings(whole)
    assert settings(search(job(tmp_path, world, trials=4))) == settings(more)


def test_the_seed_decides_what_is_proposed(world: pl.DataFrame, tmp_path: Path):
    first, second = (search(job(tmp_path / str(seed), world, trials=2, seed=seed)) for seed in (0, 1))
    assert first.trials[0].values == second.trials[0].values
    assert first.trials[1].parameters != second.trials[1].parameters


def _search_and_die(folder: Path, world: pl.DataFrame) -> None:
    """Search in a process that ends itself, without warning, in the second epoch of its third trial."""

    def die(done: int, note: str) -> None:
        if note.startswith("trial 2, epoch 2"):
            os.kill(os.getpid(), signal.SIGKILL)

    search(job(folder, world, trials=4), die)


@pytest.mark.slow
def test_a_killed_search_goes_on_as_if_it_had_not_been(world: pl.DataFrame, tmp_path: Path):
    process = multiprocessing.get_context("spawn").Process(target=_search_and_die, args=(tmp_path, world))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed = search(job(tmp_path, world, trials=4))
    assert [trial.state for trial in resumed.trials].count("interrupted") == 1
    assert len(resumed.trials) == 5
    assert settings(resumed) == settings(search(job(tmp_path / "whole", world, trials=4)))


def test_a_hopeless_rate_is_pruned(world: pl.DataFrame, tmp_path: Path):
    ranges = {"training.learning_rate": Choice(options=(1e-7, 0.03))}
    tuned = search(job(tmp_path, world, ranges=ranges, trials=12))
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert pruned
    assert {trial.parameters["training.learning_rate"] for trial in pruned} == {1e-7}
    assert all(trial.epochs < SPEC.training.epochs and trial.values is None for trial in pruned)
    assert tuned.best.parameters == {"training.learning_rate": 0.03}


def test_several_objectives_give_a_front(world: pl.DataFrame, tmp_path: Path):
    ranges: dict[str, Range] = {**RATE, "balancing.weights.like": Uniform(low=0.01, high=100, log=True)}
    tuned = search(job(tmp_path, world, ranges=ranges, trials=7, objectives=("like.log_loss", "stars.rmse")))
    values = [(-a, -b) for a, b in (trial.values or () for trial in tuned.complete)]
    expected = [
        trial.number
        for trial, own in zip(tuned.complete, values, strict=True)
        if not any(a >= own[0] and b >= own[1] and (a, b) != own for a, b in values)
    ]
    assert [trial.number for trial in tuned.front] == expected
    assert tuned.best.number in expected
    assert tuned.count("pruned") == 0
    write(tmp_path, SPEC, tuned)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "front.svg").read_text().startswith("<svg")
    assert "Trade-off between the objectives" in (tmp_path / "tuning.html").read_text()


@pytest.mark.slow
def test_two_processes_run_as_many_trials_as_one(world: pl.DataFrame, tmp_path: Path):
    tuned = search(job(tmp_path, world, trials=4, jobs=2))
    assert [trial.number for trial in tuned.trials] == [0, 1, 2, 3]
    assert tuned.count("complete") + tuned.count("pruned") == 4
    assert tuned.trials[0].values == search(job(tmp_path / "one", world, trials=1)).trials[0].values


def test_settings_below_a_chosen_part_are_proposed_where_it_has_them(world: pl.DataFrame, tmp_path: Path):
    ranges: dict[str, Range] = {
        "network": Choice(options=("SharedBottom", {"kind": "MMoE", "hidden": [8]})),
        "network.experts": Choice(options=(2, 3)),
    }
    tuned = search(job(tmp_path, world, ranges=ranges, trials=6, prune=False))
    assert {trial.parameters.get("network") == "SharedBottom" for trial in tuned.trials[1:]} == {True, False}
    for trial in tuned.trials[1:]:
        assert ("network.experts" in trial.parameters) == (trial.parameters["network"] != "SharedBottom")
        assert apply(SPEC, trial.parameters).network


class TestRefusals:
    def test_another_search_in_the_same_folder(self, world: pl.DataFrame, tmp_path: Path):
        search(job(tmp_path, world, trials=1))
        others = {"network.dropout": Uniform(low=0.1, high=0.5)}
        for changes in ({"seed": 1}, {"spec": SPEC.replace(fusion="Multiply")}, {"ranges": others}):
            with pytest.raises(UserError, match=r"study .*: expected one of this declaration.*Choose another --out"):
                search(job(tmp_path, world, trials=2, **changes))

    def test_another_table_in_the_same_folder(self, world: pl.DataFrame, tmp_path: Path):
        search(job(tmp_path, world, trials=1))
        with pytest.raises(UserError, match="expected trials on one table"):
            search(job(tmp_path, world[500:], trials=2))

    def test_a_folder_in_use(self, world: pl.DataFrame, tmp_path: Path):
        search(job(tmp_path, world, trials=1))
        other = sqlite3.connect(tmp_path / "study.db.lock", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            with pytest.raises(UserError, match="found a running search"):
                search(job(tmp_path, world, trials=2))
        finally:
            other.close()

    def test_nothing_to_search(self, world: pl.DataFrame, tmp_path: Path):
        with pytest.raises(UserError, match="expected one range or more, found none"):
            search(job(tmp_path, world, ranges={}))

    def test_a_fault_of_the_data_ends_it_soon_and_is_told(self, world: pl.DataFrame, tmp_path: Path):
        notes: list[str] = []
        with pytest.raises(UserError, match="the search: expected a trial that ends with a value.*like"):
            search(job(tmp_path, world.with_columns(rating=pl.lit(5)), trials=20), lambda done, note: notes.append(note))
        assert "trial 2" in notes
        assert "trial 3" not in notes


def test_a_declaration_holds_its_ranges_and_fit_does_not_heed_them(world: pl.DataFrame, tmp_path: Path):
    spec = SPEC.replace(search=RATE)
    assert Recommender.from_yaml(spec.to_yaml()) == spec
    plain, searched = (own.fit(world[:500], progress=False).curves for own in (SPEC, spec))
    assert plain == searched
    with pytest.raises(ValueError, match="Did you mean 'learning_rate'"):
        SPEC.replace(search={"training.lerning_rate": Uniform(low=0.1, high=1.0)})
