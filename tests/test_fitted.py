"""What a fitted recommender answers: predictions, scores, lists."""

import numpy as np
import polars as pl
import pytest
import torch

from polyrec import Binary, Categorical, Fitted, Numeric, Recommender, Regression, Tables, Training, UserError
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed


class TestPredict:
    def test_names_keys_score_and_a_column_a_task_or_class(self, fitted: Fitted, split):
        frame = fitted.predict(split[1])
        expected = ["user_id", "item_id", "score", "like", "stars", "interest.comedy", "interest.drama", "interest.war"]
        assert frame.columns == expected
        assert frame.height == split[1].height
        assert frame["user_id"].to_list() == split[1]["user_id"].to_list()

    def test_is_in_the_label_units(self, fitted: Fitted, split):
        frame = fitted.predict(split[1])
        assert frame["like"].is_between(0, 1).all()
        assert abs(frame["stars"].mean() - split[1]["rating"].mean()) < 0.3

    def test_the_score_is_the_fusion_of_the_predictions(self, fitted: Fitted, split):
        frame = fitted.predict(split[1])
        expected = frame["like"].cast(pl.Float64) * frame["stars"].cast(pl.Float64) ** 0.5
        np.testing.assert_allclose(frame["score"], expected, rtol=1e-12)

    def test_rows_do_not_depend_on_what_else_is_asked(self, fitted: Fitted, split):
        whole = fitted.predict(split[1].drop("timestamp"))
        part = fitted.predict(split[1].drop("timestamp")[17:23])
        np.testing.assert_allclose(part["score"], whole["score"][17:23], rtol=1e-5)

    def test_labels_are_not_needed_and_change_nothing_in_their_own_row(self, fitted: Fitted, split):
        rows = split[1].tail(1)
        flipped = rows.with_columns(rating=6 - pl.col("rating"))
        assert fitted.predict(rows)["score"].to_list() == fitted.predict(flipped)["score"].to_list()
        assert fitted.predict(rows.drop("rating"))["score"].to_list() == fitted.predict(rows)["score"].to_list()

    def test_a_task_from_the_users_side_does_not_depend_on_the_item(self, fitted: Fitted):
        rows = pl.DataFrame({"user_id": [100] * 3, "item_id": [5, 12, 19], "age": [20.0] * 3})
        frame = fitted.predict(rows)
        assert frame["interest.drama"].n_unique() == 1
        assert frame["like"].n_unique() == 3

    def test_unseen_users_and_items_are_predicted(self, fitted: Fitted):
        rows = pl.DataFrame({"user_id": [-1], "item_id": [-1], "age": [None]}, schema_overrides={"age": pl.Float64})
        assert fitted.predict(rows)["score"].is_finite().all()

    def test_a_missing_column_is_named(self, fitted: Fitted, split):
        with pytest.raises(UserError, match="feature 'item_id': expected a column 'item_id'"):
            fitted.predict(split[1].drop("item_id"))

    def test_what_is_known_of_a_user_need_not_be_given(self, fitted: Fitted, split):
        given, known = fitted.predict(split[1]), fitted.predict(split[1].drop("age"))
        assert given.equals(known)

    def test_another_clock_than_in_training_is_refused(self, fitted: Fitted, split):
        with pytest.raises(UserError, match="time column 'timestamp': expected numbers"):
            fitted.predict(split[1].with_columns(pl.col("timestamp").cast(pl.Datetime("us"))))


class TestRecommend:
    def test_is_sorted_and_leaves_out_seen_items(self, fitted: Fitted, split):
        user = int(split[0]["user_id"][0])
        seen = set(split[0].filter(pl.col("user_id") == user)["item_id"])
        top = fitted.recommend(user_id=user, k=5)
        assert top["score"].is_sorted(descending=True)
        assert not seen & set(top["item_id"])
        assert fitted.recommend(user_id=user, k=1000, exclude_seen=False).height == 60

    def test_equals_score_and_predict(self, fitted: Fitted):
        top = fitted.recommend(user_id=101, k=60, exclude_seen=False)
        np.testing.assert_allclose(fitted.score(101, top["item_id"].to_list()), top["score"], rtol=1e-6)
        rows = top.select(user_id=pl.lit(101, pl.Int64), item_id="item_id").with_columns(age=pl.lit(21.0))
        np.testing.assert_allclose(fitted.predict(rows)["score"], top["score"], rtol=1e-5)

    def test_a_user_as_text_is_the_same_user(self, fitted: Fitted):
        assert fitted.recommend(user_id="101").equals(fitted.recommend(user_id=101))
        assert fitted.score("101", ["5", "12"]).tolist() == fitted.score(101, [5, 12]).tolist()

    def test_a_user_never_met_by_description(self, fitted: Fitted):
        young, old = fitted.recommend(age=20, k=60), fitted.recommend(age=69, k=60)
        assert young.height == old.height == 60
        assert young["score"].to_list() != old["score"].to_list()

    def test_where_filters_the_catalogue(self, fitted: Fitted):
        assert set(fitted.recommend(user_id=101, k=60, where="item_id < 100", exclude_seen=False)["item_id"]) == set(
            range(5, 100, 7)
        )

    def test_no_item_left_is_an_empty_list(self, fitted: Fitted):
        assert fitted.recommend(user_id=101, where="item_id < 0").height == 0

    def test_weights_of_a_request_replace_those_declared_and_are_forgotten(self, fitted: Fitted):
        plain = fitted.recommend(user_id=101, k=60, exclude_seen=False)
        asked = fitted.recommend(user_id=101, k=60, exclude_seen=False, weights={"stars": -1.0})
        like, stars = asked["like"].cast(pl.Float64), asked["stars"].cast(pl.Float64)
        np.testing.assert_allclose(asked["score"], like / stars, rtol=1e-12)
        scores = fitted.score(101, asked["item_id"], weights={"stars": -1.0})
        np.testing.assert_allclose(scores, asked["score"], rtol=1e-6)
        assert fitted.recommend(user_id=101, k=60, exclude_seen=False).equals(plain)
        assert plain["item_id"].to_list() != asked["item_id"].to_list()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"user_id": 101, "weights": {"lik": 1.0}}, "weight 'lik' of the fusion.*Did you mean 'like'"),
            ({"user_id": 101, "weights": {"like": float("nan")}}, "weight 'like' of the fusion: expected a finite number"),
            ({"user_id": 101, "k": 0}, "k: expected a number of items, 1 or more, found 0"),
            ({"user_ids": 101}, "argument 'user_ids': expected a column of the user's side.*Did you mean 'user_id'"),
            ({"user_id": 101, "columns": ["titel"]}, "expected a column 'titel'"),
            ({"user_id": 101, "where": "price > 3"}, "expected a column 'price'"),
            ({"user_id": 101, "age": "old"}, "argument 'age': expected a value of type Float64, found 'old'"),
        ],
    )
    def test_mistakes_are_named(self, fitted: Fitted, arguments: dict, message: str):
        with pytest.raises(UserError, match=message):
            fitted.recommend(**arguments)

    def test_what_is_too_large_to_compute_with_is_refused_by_lists_and_scores_alike(self, fitted: Fitted):
        message = "the fused score: expected finite numbers, found NaN or infinity in .* rows"
        for weights in ({"stars": 1e5}, {"stars": 1e300}):
            with pytest.raises(UserError, match=message):
                fitted.recommend(user_id=101, weights=weights)
            with pytest.raises(UserError, match=message):
                fitted.score(101, [5], weights=weights)
        assert len(fitted.recommend(user_id=101, weights={"like": 1e-300})) == 10

    def test_a_number_beyond_single_precision_is_refused_by_its_feature(self, fitted: Fitted):
        with pytest.raises(UserError, match="column 'age' of the feature 'age': expected values that fit single precision"):
            fitted.recommend(user_id=101, age=1e200)

    def test_a_prediction_that_is_no_number_is_named(self, fitted: Fitted):
        predictions = {task.name: torch.ones(2) for task in fitted.spec.tasks} | {"stars": torch.tensor([1.0, torch.nan])}
        message = "prediction of the task 'stars': expected finite numbers, found NaN or infinity in 1 of 2 rows"
        with pytest.raises(UserError, match=message):
            fitted.fused(predictions)

    def test_an_unknown_item_is_named_in_score(self, fitted: Fitted):
        with pytest.raises(UserError, match="item 6: expected an item of the catalogue"):
            fitted.score(101, [5, 6])


class TestEvaluate:
    def test_learns_what_the_world_holds(self, fitted: Fitted, split):
        result = fitted.evaluate(split[1])
        assert result.tasks["like"]["auc"] > 0.85
        assert result.tasks["stars"]["rmse"] < 0.75
        assert result.fusion["ndcg@10"] > 0.2

    def test_the_shape_of_the_json(self, fitted: Fitted, split):
        told = fitted.evaluate(split[1], slices=["user_id"], resamples=5).to_dict()
        assert told["rows"] == 1000
        assert set(told["tasks"]) == {"like", "stars", "interest"}
        assert all(isinstance(value, float) for metrics in told["tasks"].values() for value in metrics.values())
        low, high = told["intervals"]["like"]["auc"]
        assert low < told["tasks"]["like"]["auc"] < high
        assert len(told["slices"]["user_id"]) == 20

    def test_the_fusion_costs_a_task_what_the_order_of_predict_says(self, fitted: Fitted, split):
        result = fitted.evaluate(split[1], resamples=20, ranking=False)
        assert set(result.fusion_cost) == {"like", "stars"}
        said = fitted.predict(split[1])
        label, user = (split[1]["rating"] >= 4).cast(pl.Int8).to_numpy(), split[1]["user_id"].to_numpy()
        for order, name in ((said["score"], "fused"), (said["like"], "own")):
            gauc = METRICS["gauc"](Observed(order.to_numpy(), label, user))
            assert getattr(result.fusion_cost["like"]["gauc"], name) == pytest.approx(gauc)
        told = result.to_dict()["fusion_cost"]["stars"]["ndcg@10"]
        assert told["difference"] == pytest.approx(told["fused"] - told["own"])
        assert told["low"] <= told["difference"] <= told["high"]
        assert "cost of the fusion" in str(result)

    def test_null_labels_count_in_no_metric(self, fitted: Fitted, split):
        rows = split[1].with_columns(rating=pl.when(pl.int_range(pl.len()) % 2 == 0).then("rating"))
        halved = fitted.evaluate(rows.drop("timestamp"), ranking=False)
        kept = fitted.evaluate(rows.drop("timestamp").filter(pl.col("rating").is_not_null()), ranking=False)
        assert halved.observed["like"] == 500
        assert halved.tasks["like"] == pytest.approx(kept.tasks["like"])

    def test_a_missing_label_column_leaves_the_task_out(self, fitted: Fitted, split):
        assert set(fitted.evaluate(split[1].drop("genres"), ranking=False).tasks) == {"like", "stars"}
        with pytest.raises(UserError, match="expected the label of a task"):
            fitted.evaluate(split[1].drop("rating", "genres"))

    def test_prints_as_tables(self, fitted: Fitted, split):
        text = str(fitted.evaluate(split[1]))
        assert "auc" in text
        assert "ndcg@10" in text

    def test_the_ranking_equals_recommend_user_by_user(self, fitted: Fitted, split):
        train, test = split
        liked = test.filter(pl.col("rating") >= 4).select("user_id", "item_id").unique()
        liked = liked.join(train, on=["user_id", "item_id"], how="anti")
        hits = [
            bool(set(fitted.recommend(user_id=user, k=10)["item_id"]) & set(own["item_id"]))
            for (user,), own in liked.group_by("user_id")
        ]
        assert fitted.evaluate(test).fusion["hit_rate@10"] == pytest.approx(np.mean(hits))


class TestGates:
    def test_are_a_distribution_over_experts(self, fitted: Fitted, split):
        gates = fitted.gates(split[1])
        assert set(gates) == {"like", "stars", "interest"}
        assert gates["like"].shape == (1000, 2)
        np.testing.assert_allclose(gates["like"].sum(1), 1, rtol=1e-5)


class TestOtherShapes:
    def test_rows_that_are_no_user_meeting_an_item(self, world: pl.DataFrame):
        recommender = Recommender(
            features=(Numeric(name="age"), Categorical(name="item_id")),
            tasks=(Binary(name="like", label="rating >= 4"),),
            training=Training(epochs=2),
        )
        fitted = recommender.fit(world, progress=False)
        assert fitted.predict(world.head(3)).columns == ["score", "like"]
        assert set(fitted.evaluate(world.head(100)).to_dict()["fusion"]) == set()
        with pytest.raises(UserError, match="expected items to rank"):
            fitted.recommend()

    def test_side_tables(self, world: pl.DataFrame):
        items = world.select("item_id").unique().with_columns(title=pl.format("film {}", "item_id"), year=pl.lit(1990))
        items = pl.concat(
            [items, pl.DataFrame({"item_id": [9999], "title": ["never met"], "year": [1990]}, schema=items.schema)]
        )
        recommender = Recommender(
            user=(Categorical(name="user_id"),),
            item=(Categorical(name="item_id"), Numeric(name="year")),
            tasks=(Regression(name="stars", label="rating"),),
            training=Training(epochs=2),
        )
        fitted = recommender.fit(Tables(world.drop("age", "genres"), items=items), progress=False)
        top = fitted.recommend(user_id=101, k=100, columns=["title"], exclude_seen=False)
        assert "never met" in top["title"].to_list()
        assert fitted.predict(world.select("user_id", "item_id")).height == world.height
