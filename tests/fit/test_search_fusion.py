"""A search for a fusion's weights: on a world whose best weights are known, and what it must refuse."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import polyrec
from polyrec import Add, Fitted, Formula, Multiply, Rank, UserError
from polyrec.fusion.fusion import Fusion
from polyrec.ranges.uniform import Uniform

UTILITY = {"like.ndcg@5": 1.0, "stars.ndcg@5": 0.5}


class Oracle(Fitted):
    """A recommender that predicts `like` as badly as it can and `stars` as the ratings are, with some noise."""

    asked = 0

    def __init__(self, fitted: Fitted, fusion: Fusion) -> None:
        super().__init__(replace(fitted.parts, spec=fitted.spec.replace(fusion=fusion)), fitted.model)

    def predict_tensors(self, frame: pl.DataFrame) -> dict[str, torch.Tensor]:
        self.asked += 1
        generator = torch.Generator().manual_seed(0)
        rating = frame["rating"].to_torch().float()
        noise = torch.randn(frame.height, generator=generator)
        return {"like": -rating + noise, "stars": rating + noise, "interest": torch.zeros(frame.height, 3)}


@pytest.fixture(scope="module")
def rows(split) -> pl.DataFrame:
    return split[1]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_finds_the_task_that_knows(fitted: Fitted, rows: pl.DataFrame, sampler: str):
    oracle = Oracle(fitted, Add(weights={"like": 1.0, "stars": 0.1}))
    found = oracle.tune_fusion(rows, UTILITY, trials=40, sampler=sampler)
    assert oracle.asked == 1
    assert found.given.weights == {"like": 1.0, "stars": 0.1}
    assert found.best.weights["stars"] > 4 * found.best.weights["like"]
    assert found.best.utility > found.given.utility
    for gain in found.gains.values():
        assert gain.low > 0
        assert gain.low < gain.difference < gain.high
        assert gain.difference == pytest.approx(gain.best - gain.given, rel=1e-12)
    assert found.users == (40, 40)


def test_is_the_same_for_the_same_seed_and_reports_every_trial(fitted: Fitted, rows: pl.DataFrame):
    told: list[int] = []
    first = fitted.tune_fusion(rows, UTILITY, trials=12, seed=3, on_trial=told.append)
    assert told == list(range(1, 13))
    assert first.to_dict(trials=True) == fitted.tune_fusion(rows, UTILITY, trials=12, seed=3).to_dict(trials=True)
    assert first.to_dict() != fitted.tune_fusion(rows, UTILITY, trials=12, seed=4).to_dict()
    assert [trial.number for trial in first.trials] == list(range(12))
    assert all(trial.utility <= first.best.utility for trial in first.trials)
    json.dumps(first.to_dict(trials=True), allow_nan=False)


def test_figures_are_those_of_predict_user_by_user(fitted: Fitted, rows: pl.DataFrame):
    found = fitted.tune_fusion(rows, {"like.mean@1": 1.0}, trials=1)
    assert found.gains["utility"].difference == 0
    frame = fitted.predict(rows).with_columns(like_label=(rows["rating"] >= 4).cast(pl.Float64))
    first = frame.sort("score", descending=True).group_by("user_id").first()["like_label"]
    searched, confirmed = found.given.metrics["like.mean@1"], found.gains["like.mean@1"].given
    assert (searched * found.users[0] + confirmed * found.users[1]) / 80 == pytest.approx(first.mean(), rel=1e-6)


def test_the_front_is_of_the_metrics_and_watched_ones_weigh_nothing(fitted: Fitted, rows: pl.DataFrame):
    found = fitted.tune_fusion(rows, {"like.gauc": 1.0, "stars.mean@3": 0.0}, trials=25, sampler="random")
    assert all(trial.utility == trial.metrics["like.gauc"] for trial in found.trials)
    values = np.array([list(trial.metrics.values()) for trial in found.trials])
    for trial in found.front:
        assert not any((own >= values[trial.number]).all() and (own > values[trial.number]).any() for own in values)
    assert found.best.utility == max(trial.metrics["like.gauc"] for trial in found.front)


def test_what_is_applied_is_declared_saved_and_loaded(fitted: Fitted, rows: pl.DataFrame, tmp_path: Path):
    found = fitted.tune_fusion(rows, UTILITY, trials=8)
    steered = found.apply(fitted)
    assert steered.spec.fusion == found.best_fusion
    assert fitted.spec.fusion == found.fusion
    loaded = polyrec.load(steered.save(tmp_path / "artifact"))
    assert loaded.predict(rows).equals(steered.predict(rows))
    assert loaded.parts.facts.fusion_search["best"]["weights"] == found.best.weights
    assert loaded.recommend(user_id=101).equals(steered.recommend(user_id=101))


@pytest.mark.parametrize(
    ("fusion", "searched"),
    [
        (Add(), {"like", "stars"}),
        (Add(weights={"like": -1.0}), {"like"}),
        (Multiply(powers={"like": 1.0, "stars": 0.5}), {"like", "stars"}),
        (Rank(weights={"stars": 1.0, "like": 0.01}), {"like", "stars"}),
        (Formula(expression="like ** a + b * stars", weights={"a": 1.0, "b": 0.0}), {"a", "b"}),
    ],
)
def test_weights_that_are_named_are_searched_on_their_side_of_zero(fitted: Fitted, rows, fusion: Fusion, searched: set[str]):
    found = Oracle(fitted, fusion).tune_fusion(rows, {"stars.ndcg@3": 1.0}, trials=10, sampler="random")
    assert set(found.best.weights) == searched
    for trial in found.trials:
        assert all(value * found.given.weights[name] >= 0 for name, value in trial.weights.items())
    spread = {name: np.ptp([trial.weights[name] for trial in found.trials]) for name in searched}
    assert all(value > 0.1 for value in spread.values())


def test_ranges_can_be_given(fitted: Fitted, rows: pl.DataFrame):
    ranges = {"like": Uniform(low=0.9, high=1.1), "stars": Uniform(low=-1.0, high=1.0)}
    found = fitted.tune_fusion(rows, UTILITY, trials=10, sampler="random", ranges=ranges)
    assert all(0.9 <= trial.weights["like"] <= 1.1 for trial in found.trials)
    assert any(trial.weights["stars"] < 0 for trial in found.trials)


def test_null_labels_and_users_are_left_out(fitted: Fitted, rows: pl.DataFrame):
    holes = rows.with_columns(
        rating=pl.when(pl.int_range(pl.len()) % 3 > 0).then("rating"),
        user_id=pl.when(pl.int_range(pl.len()) % 5 > 0).then("user_id"),
    ).drop("timestamp")
    kept = holes.drop_nulls(["rating", "user_id"])
    both = [Fitted(fitted.parts, fitted.model).tune_fusion(own, {"like.gauc": 1.0}, trials=3) for own in (holes, kept)]
    assert both[0].gains["like.gauc"].given == pytest.approx(both[1].gains["like.gauc"].given, rel=1e-6)


def test_a_hundred_trials_over_twenty_thousand_rows_take_seconds(fitted: Fitted, rows: pl.DataFrame):
    many = pl.concat([rows.with_columns(user_id=pl.col("user_id") + 1000 * copy) for copy in range(20)])
    oracle = Oracle(fitted, Add())
    began = time.process_time()
    oracle.tune_fusion(many, UTILITY, trials=100)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("utility", "options", "message"),
    [
        ({"like.ndgc@10": 1.0}, {}, "utility 'like.ndgc@10'.*Did you mean 'like.ndcg@10'"),
        ({"lik.gauc": 1.0}, {}, "Did you mean 'like.gauc'"),
        ({"like.auc": 1.0}, {}, "Did you mean 'like.gauc'"),
        ({"stars.gauc": 1.0}, {}, "utility 'stars.gauc': expected labels of 0 and 1"),
        ({"interest.ndcg@3": 1.0}, {}, "expected one label a row"),
        ({}, {}, "the utility: expected finite weights, one of them not 0, found none"),
        ({"like.gauc": 0.0}, {}, "the utility: expected finite weights"),
        ({"like.gauc": float("nan")}, {}, "the utility: expected finite weights"),
        ({"like.gauc": 1.0}, {"trials": 0}, "expected trials of a sampler"),
        ({"like.gauc": 1.0}, {"sampler": "grid"}, "expected trials of a sampler"),
        ({"like.gauc": 1.0}, {"ranges": {"lik": Uniform(low=0, high=1)}}, "range of the weight 'lik'.*Did you mean 'like'"),
        ({"like.gauc": 1.0}, {"ranges": {"like": Uniform(low=2, high=3)}}, "expected one that contains the present weight"),
    ],
)
def test_mistakes_are_named(fitted: Fitted, rows: pl.DataFrame, utility: dict, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        fitted.tune_fusion(rows, utility, **options)


def test_a_table_that_cannot_tell_is_refused(fitted: Fitted, rows: pl.DataFrame):
    with pytest.raises(UserError, match="expected 4 users or more, found 1"):
        fitted.tune_fusion(rows.filter(user_id=rows["user_id"][0]), UTILITY)
    with pytest.raises(UserError, match="utility 'like.gauc': expected users whose lists it can tell"):
        fitted.tune_fusion(rows.with_columns(rating=5), {"like.gauc": 1.0})
    with pytest.raises(UserError, match="expected the name of a task with a label here"):
        fitted.tune_fusion(rows.drop("rating"), UTILITY)
    constant = Fitted(replace(fitted.parts, spec=fitted.spec.replace(fusion=Formula(expression="like"))), fitted.model)
    with pytest.raises(UserError, match="the fusion Formula: expected weights to search for, found none"):
        constant.tune_fusion(rows, UTILITY)
