"""Off-policy estimates as they are asked for: targets in a column, in a frame, as a fitted recommender; models; cautions."""

import json

import numpy as np
import polars as pl
import pytest

from polyrec import Fitted, UserError, off_policy
from polyrec.evaluate.off_policy.log import LogColumns

ITEMS, LENGTH = 5, 2


def served(requests: int = 400, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a log of lists of two items, chosen uniformly one by one, and a target's candidates that prefer low numbers."""
    generator = np.random.default_rng(seed)
    rows, candidates = [], []
    preference = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    for request in range(requests):
        free = list(range(ITEMS))
        for position in range(1, LENGTH + 1):
            weight = preference[free] / preference[free].sum()
            candidates += [(request, position, i, w, 0.1 * i, str(i)) for i, w in zip(free, weight, strict=True)]
            item = int(generator.choice(free))
            target = weight[free.index(item)]
            rows.append((request, request // 2, item, position, 1 / len(free), generator.random() < 0.1 + 0.1 * item, target))
            free.remove(item)
    log = pl.DataFrame(rows, ["request", "user", "item", "position", "propensity", "click", "p_new"], orient="row")
    frame = pl.DataFrame(candidates, ["request", "position", "item", "probability", "said", "of"], orient="row")
    return log, frame


@pytest.fixture(scope="module")
def log_and_candidates() -> tuple[pl.DataFrame, pl.DataFrame]:
    return served()


class TestTargets:
    def test_a_column_and_candidates_say_the_same(self, log_and_candidates):
        log, candidates = log_and_candidates
        by_column, by_frame = off_policy(log, "p_new"), off_policy(log, candidates)
        assert by_column.to_dict() == by_frame.to_dict()
        assert set(by_column.estimates) == {"ips", "snips"}
        assert by_column.logged.value == pytest.approx(2 * log["click"].mean())

    def test_models_in_columns_of_the_log_and_of_the_candidates_say_the_same(self, log_and_candidates):
        log, candidates = log_and_candidates
        said = candidates.group_by("request", "position").agg(mean=(pl.col("said") * pl.col("probability")).sum())
        told = log.join(said, on=["request", "position"]).with_columns(own=0.1 * pl.col("item"))
        first = off_policy(told, "p_new", predicted="own", expected="mean").estimates["dr"]
        second = off_policy(log, candidates, predicted="said").estimates["dr"]
        assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))

    def test_the_first_ranks_alone_are_a_log_of_shorter_lists(self, log_and_candidates):
        log, candidates = log_and_candidates
        short = off_policy(log.filter(pl.col("position") == 1), candidates)
        assert off_policy(log, candidates, ranks=1).to_dict() == short.to_dict()
        assert len(short.ranks) == 1

    def test_a_target_of_zero_for_an_item_that_is_no_candidate(self, log_and_candidates):
        log, candidates = log_and_candidates
        some = candidates.filter(pl.col("item") != 4).with_columns(
            pl.col("probability") / pl.col("probability").sum().over("request", "position")
        )
        found = off_policy(log, some)
        without = log.join(some, on=["request", "position", "item"], how="left").with_columns(
            pl.col("probability").fill_null(0)
        )
        assert found.to_dict() == off_policy(without, "probability").to_dict()


@pytest.fixture(scope="module")
def log(fitted: Fitted) -> pl.DataFrame:
    generator = np.random.default_rng(0)
    rows, request = [], 0
    for user in range(100, 130):
        best = fitted.recommend(user_id=user, k=3)["item_id"].to_list()
        for _ in range(8):
            shown = generator.permutation(best)[:2]
            for position, item in enumerate(shown, start=1):
                rows.append((request, user, int(item), position, 1 / (4 - position), float(generator.random() < 0.3)))
            request += 1
    return pl.DataFrame(rows, ["request", "user_id", "item_id", "position", "propensity", "click"], orient="row")


class TestFitted:
    """A deterministic target: the best item of a fitted recommender at each rank."""

    def test_equals_a_loop_over_what_recommend_says(self, fitted: Fitted, log: pl.DataFrame):
        names = LogColumns(user="user_id", item="item_id")
        found = off_policy(log, fitted, predicted="like", columns=names)
        values = {"ips": 0.0, "dr": 0.0}
        for (_,), rows in log.group_by("request"):
            user, shown = rows["user_id"][0], rows.sort("position")["item_id"].to_list()
            best = fitted.recommend(user_id=user, k=3)["item_id"].to_list()
            likes = dict(zip(best, fitted.recommend(user_id=user, k=3)["like"].to_list(), strict=True))
            clicks, weight = rows.sort("position")["click"].to_list(), 1.0
            for rank, item in enumerate(shown):
                choice = next(other for other in best if other not in shown[:rank])
                before, weight = weight, weight * (item == choice) * (3 - rank)
                values["ips"] += weight * clicks[rank]
                values["dr"] += weight * (clicks[rank] - likes[item]) + before * likes[choice]
        requests = log["request"].n_unique()
        assert found.estimates["ips"].value == pytest.approx(values["ips"] / requests)
        assert found.estimates["dr"].value == pytest.approx(values["dr"] / requests, rel=1e-5)

    def test_keys_that_are_text_in_the_log_are_found(self, fitted: Fitted, log: pl.DataFrame):
        names = LogColumns(user="user_id", item="item_id")
        text = log.with_columns(pl.col("user_id", "item_id", "request").cast(pl.String))
        found, expected = (off_policy(own, fitted, predicted="like", columns=names).to_dict() for own in (text, log))
        assert found["estimates"] == {name: pytest.approx(own) for name, own in expected["estimates"].items()}

    def test_a_reward_model_of_columns_of_the_catalogue(self, fitted: Fitted, log: pl.DataFrame):
        names = LogColumns(user="user_id", item="item_id")
        assert "dr" in off_policy(log, fitted, features=["item_id"], columns=names).estimates

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"predicted": "lik"}, "Did you mean 'like'"),
            ({"predicted": "interest"}, "expected a task with one number a row"),
            ({"features": ["price"]}, "expected a column 'price'"),
        ],
    )
    def test_mistakes_are_named(self, fitted: Fitted, log: pl.DataFrame, options: dict, message: str):
        with pytest.raises(UserError, match=message):
            off_policy(log, fitted, columns=LogColumns(user="user_id", item="item_id"), **options)

    def test_an_item_that_the_catalogue_lacks_is_not_what_the_target_shows(self, fitted: Fitted, log: pl.DataFrame):
        names = LogColumns(user="user_id", item="item_id")
        gone = log.with_columns(item_id=pl.when(pl.col("request") == 0).then(-pl.col("position")).otherwise("item_id"))
        assert off_policy(gone, fitted, columns=names).requests == 240
        with pytest.raises(UserError, match="a number for every item shown"):
            off_policy(gone, fitted, columns=names, predicted="like")


class TestCautions:
    def test_there_is_none_where_the_log_covers_the_target(self):
        log, candidates = served(1500)
        assert off_policy(log, candidates).cautions == ()

    def test_few_effective_requests(self, log_and_candidates):
        log, _ = log_and_candidates
        (told,) = off_policy(log.filter(pl.col("request") < 40), "p_new").cautions
        assert "are worth" in told

    def test_a_log_that_lacks_what_the_target_does_is_found_by_the_mean_weight(self):
        log, candidates = served(2000)
        first = log.filter((pl.col("position") == 1) & (pl.col("item") != 0)).with_columns(propensity=0.25)
        own = candidates.filter(pl.col("position") == 1)
        (told,) = off_policy(first, own).cautions
        assert "the target puts about 34% of its probability where the log has none" in told
        known = own.with_columns(propensity=pl.when(pl.col("item") != 0).then(0.25).otherwise(0.0))
        assert (
            "gives 33.3% of its probability to items that the log's policy could not show"
            in off_policy(first, known).cautions[0]
        )

    def test_propensities_that_are_too_small(self):
        log, _ = served(2000)
        told = off_policy(log.with_columns(propensity=0.5 * pl.col("propensity")), "p_new").cautions
        assert any("propensities are smaller than what happened" in caution for caution in told)

    def test_one_request_that_decides(self, log_and_candidates):
        log, _ = log_and_candidates
        rare = log.with_columns(propensity=pl.when(pl.col("request") == 0).then(1e-6).otherwise("propensity"))
        assert any("few requests decide" in caution for caution in off_policy(rare, "p_new").cautions)

    def test_clipping_is_told_and_bounds_the_weights(self, log_and_candidates):
        log, _ = log_and_candidates
        clipped = off_policy(log, "p_new", clip=1.2)
        assert max(rank.largest_weight for rank in clipped.ranks) == 1.2
        assert clipped.clip == 1.2
        assert "were clipped" in clipped.cautions[-1]
        assert clipped.estimates["ips"].value < off_policy(log, "p_new").estimates["ips"].value
        assert off_policy(log, "p_new", clip=1e6).to_dict()["estimates"] == off_policy(log, "p_new").to_dict()["estimates"]


class TestReport:
    def test_as_json_and_as_text(self, log_and_candidates):
        log, candidates = log_and_candidates
        result = off_policy(log, candidates, predicted="said")
        told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert set(told["estimates"]) == {"ips", "snips", "dr"}
        assert told["requests"] == 400
        assert told["users"] == 200
        own = told["estimates"]["snips"]
        assert own["low"] < own["value"] < own["high"]
        assert own["gain"] == pytest.approx(own["value"] - told["logged"]["value"])
        assert own["ess"] == min(rank["ess"] for rank in told["ranks"]) < 400
        text = str(result)
        for part in ("click per request", "logged", "snips", "cascade", "top 1 %"):
            assert part in text
        assert "Caution: " in str(off_policy(log.head(20), "p_new"))

    def test_a_gain_of_a_target_that_is_the_logging_policy_is_zero_with_certainty(self, log_and_candidates):
        log, _ = log_and_candidates
        own = off_policy(log, "propensity").estimates["ips"]
        assert (own.gain, own.gain_low, own.gain_high) == pytest.approx((0, 0, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interaction": "cascad"}, "Did you mean 'cascade'"),
        ({"clip": 0.5}, "`clip`: expected 1 or more"),
        ({"ranks": 0}, "`ranks`: expected 1 or more"),
        ({"predicted": "p_new"}, "Name `predicted` and `expected` together"),
        ({"features": ["item"]}, "expected two columns"),
        ({"reward": "buy"}, "expected a column 'buy'"),
    ],
)
def test_mistakes_are_named(log_and_candidates, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        off_policy(log_and_candidates[0], "p_new", **options)


def test_a_target_that_does_nothing_of_what_was_logged_is_refused(log_and_candidates):
    log, _ = log_and_candidates
    with pytest.raises(UserError, match="weights at rank 1: expected some above 0"):
        off_policy(log.with_columns(p_new=0.0), "p_new")
    with pytest.raises(UserError, match=r"Judge the first 1 ranks \(`ranks`\)"):
        off_policy(log.with_columns(p_new=pl.when(pl.col("position") == 1).then("p_new").otherwise(0.0)), "p_new")
    with pytest.raises(UserError, match="lists of two users or more"):
        off_policy(log.head(2), "p_new")


def test_features_and_a_prediction_are_not_both_taken(log_and_candidates):
    log, candidates = log_and_candidates
    with pytest.raises(UserError, match="expected `predicted` or `features`"):
        off_policy(log, candidates, predicted="said", features=["of"])


def test_a_fitted_model_needs_the_item_shown_among_the_candidates(log_and_candidates):
    log, candidates = log_and_candidates
    some = candidates.filter(pl.col("item") != 4).with_columns(
        pl.col("probability") / pl.col("probability").sum().over("request", "position")
    )
    with pytest.raises(UserError, match="items of the log"):
        off_policy(log, some, features=["of"])
