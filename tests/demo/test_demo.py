"""The demo's comparison and page, on the small world; the declaration of the demo itself."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from polyrec import Add, Fitted, Recommender, Text, TfIdf
from polyrec.demo.compare import BASELINE, MULTI, SINGLE, Comparison, compare, popularity_ndcg
from polyrec.demo.movielens import recommender
from polyrec.demo.outcome import Outcome
from polyrec.demo.page import write_report
from polyrec.demo.run import mean_gates, text_cells
from polyrec.demo.text import TextGain, text_gains


@pytest.fixture(scope="module")
def singles(small: Recommender, split) -> dict[str, Fitted]:
    return {task.name: small.replace(tasks=(task,), fusion=Add()).fit(split[0], progress=False) for task in small.tasks}


@pytest.fixture(scope="module")
def comparisons(fitted: Fitted, singles: dict[str, Fitted], split) -> list[Comparison]:
    return compare(fitted, singles, *split)


def test_the_declaration_survives_yaml():
    spec = recommender(3)
    assert Recommender.from_yaml(spec.to_yaml()) == spec
    assert [task.name for task in spec.tasks] == ["like", "stars", "interest", "met"]


class TestCompare:
    def test_covers_every_metric_of_every_task(self, comparisons: list[Comparison], small: Recommender):
        assert [(row.task, row.metric) for row in comparisons] == [(task.name, m) for task in small.tasks for m in task.metrics]

    def test_values_are_those_of_the_models(self, comparisons: list[Comparison], fitted: Fitted, singles, split):
        auc = comparisons[0]
        test = split[1]
        assert auc.values[MULTI] == pytest.approx(fitted.evaluate(test, ranking=False).tasks["like"]["auc"])
        assert auc.values[SINGLE] == pytest.approx(singles["like"].evaluate(test, ranking=False).tasks["like"]["auc"])
        likes = (
            split[0]
            .group_by("item_id")
            .agg(rate=((pl.col("rating") >= 4).sum() + 10 * (split[0]["rating"] >= 4).mean()) / (pl.len() + 10))
        )
        rate = test.join(likes, on="item_id", how="left", maintain_order="left")["rate"]
        assert auc.values[BASELINE] == pytest.approx(roc_auc_score(test["rating"] >= 4, rate))

    def test_models_beat_predictions_without_one(self, comparisons: list[Comparison]):
        by_name = {(row.task, row.metric): row.values for row in comparisons}
        assert by_name["like", "auc"][MULTI] > by_name["like", "auc"][BASELINE] + 0.05
        assert by_name["stars", "rmse"][MULTI] < by_name["stars", "rmse"][BASELINE] - 0.05

    @pytest.mark.parametrize(
        ("metric", "low", "high", "verdict"),
        [
            ("auc", 0.01, 0.02, "better"),
            ("auc", -0.02, -0.01, "worse"),
            ("rmse", -0.02, -0.01, "better"),
            ("rmse", -0.1, 0.1, "unclear"),
        ],
    )
    def test_the_verdict_follows_the_interval(self, metric: str, low: float, high: float, verdict: str):
        assert Comparison("t", metric, {}, {}, ((low + high) / 2, low, high)).verdict == verdict


def test_popularity_ranks_alike_for_everybody_but_for_what_was_seen(fitted: Fitted, split):
    train, test = split
    counts = dict(train.filter(pl.col("rating") >= 4).group_by("item_id").len().iter_rows())
    items = fitted.items["item_id"].to_list()
    values = []
    for (user,), rows in test.filter(pl.col("rating") >= 4).group_by("user_id"):
        seen = set(train.filter(pl.col("user_id") == user)["item_id"])
        liked = set(rows["item_id"])
        if liked - seen:
            scores = [-1e9 if item in seen else counts.get(item, 0) - index * 1e-6 for index, item in enumerate(items)]
            hidden = [item in liked and item not in seen for item in items]
            values.append((ndcg_score([hidden], [scores], k=10), user))
    ndcg = popularity_ndcg(fitted, train, test, 10)
    assert 0 < ndcg <= 1
    assert ndcg == pytest.approx(np.mean([value for value, _ in values]), abs=0.02)


def test_the_gain_by_text_is_reported_for_all_films_and_for_cold_ones(small: Recommender, world: pl.DataFrame, tmp_path: Path):
    """The title is the mean rating of its film in words; no other feature has it for films without interactions."""
    means = world.group_by("item_id").agg(
        title=pl.lit("mark") + (pl.col("rating").mean() * 2).round().cast(pl.Int64).cast(pl.String)
    )
    text = Text(name="title", encoder=TfIdf(minimum_count=1), width=8)
    spec = small.replace(item=(*small.item, text), training=small.training.replace(epochs=2))
    gains = {(row.task, row.films): row for row in text_gains(spec, world.join(means, on="item_id"), tmp_path, seed=0)}
    assert {task for task, _ in gains} == {"like", "stars", "interest", "fused ranking"}
    like = gains["like", "cold films"]
    assert like.verdict == "better"
    assert like.whole > like.without + 0.05
    assert like.whole - like.without == pytest.approx((like.low + like.high) / 2)
    assert text_cells(like)[0] == "like auc ↑"


@pytest.mark.parametrize(("metric", "verdict"), [("auc", "better"), ("rmse", "worse"), ("recall@10", "better")])
def test_a_gain_is_judged_by_its_metric(metric: str, verdict: str):
    assert TextGain("t", metric, "all films", 0, 1, 0.5, 1.5).verdict == verdict


def test_the_page_is_written(fitted: Fitted, comparisons: list[Comparison], split, tmp_path: Path):
    liked = split[0].head(3).select(title=pl.col("item_id").cast(pl.String), genres="genres", rating="rating")
    items = fitted.recommend(user_id=101, k=3)
    top = items.with_columns(title=pl.lit("a <b> film"), genres=pl.lit(["war"], dtype=pl.List(pl.String)))
    gain = TextGain("like", "auc", "cold films", 0.51, 0.56, 0.01, 0.08)
    outcome = Outcome(fitted, comparisons, {"ndcg@10": 0.5}, [gain], liked, top)
    gates = mean_gates(fitted, split[1])
    np.testing.assert_allclose(gates.sum(1), 1, rtol=1e-5)
    write_report(tmp_path / "report.html", outcome, gates, "terms of use")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "a &lt;b&gt; film" in text
    assert "terms of use" in text
    assert "cold films" in text
