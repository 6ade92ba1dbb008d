"""Fitting: reproducible, resumable, robust to missing labels, and clear about bad input."""

import multiprocessing
from pathlib import Path

import polars as pl
import pytest
import torch

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    FixedWeights,
    History,
    LastSplit,
    Multiply,
    Numeric,
    Recommender,
    Regression,
    SharedBottom,
    TimeSplit,
    Training,
    UserError,
)


def same_weights(first: Fitted, second: Fitted) -> bool:
    return all(torch.equal(value, second.parts.weights[name]) for name, value in first.parts.weights.items())


class TestReproducible:
    def test_the_same_seed_gives_the_same_weights_and_another_seed_others(self, small: Recommender, world: pl.DataFrame):
        short = Training(epochs=2, batch_size=512)
        first, again = (small.fit(world, training=short, progress=False) for _ in range(2))
        other = small.fit(world, training=short.replace(seed=1), progress=False)
        assert same_weights(first, again)
        assert not same_weights(first, other)

    def test_the_global_generator_is_left_alone(self, small: Recommender, world: pl.DataFrame):
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        small.fit(world.head(500), training=Training(epochs=1), progress=False)
        assert torch.rand(1) == expected


def _fit_and_die(small: Recommender, world: pl.DataFrame, training: Training, folder: Path) -> None:
    """Fit in a process of its own that ends itself, without warning, once three epochs are checkpointed."""
    import os
    import signal

    from polyrec.train import checkpoint

    save = checkpoint.save_checkpoint

    def save_then_die(*arguments: object) -> None:
        save(*arguments)
        if len(arguments[-1].curves) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_checkpoint = save_then_die
    small.fit(world, training=training, checkpoint=folder, progress=False)


class TestResume:
    @pytest.mark.parametrize(
        "optimizer",
        ["adamw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "adam", "rmsprop", "adagrad"))],
    )
    def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(
        self, small: Recommender, world: pl.DataFrame, tmp_path: Path, optimizer: str
    ):
        spec = small.replace(network=SharedBottom(hidden=(16,), dropout=0.3))
        training = Training(
            epochs=5,
            batch_size=512,
            optimizer=optimizer,
            momentum=0.5,
            schedule="cosine",
            warmup=0.2,
            patience=None,
            refit=True,
        )
        process = multiprocessing.get_context("spawn").Process(
            target=_fit_and_die, args=(spec, world, training, tmp_path / "c")
        )
        process.start()
        process.join()
        assert process.exitcode == -9
        resumed = spec.fit(world, training=training, checkpoint=tmp_path / "c", resume=True, progress=False)
        whole = spec.fit(world, training=training, progress=False)
        assert same_weights(resumed, whole)
        assert resumed.curves == whole.curves

    def test_a_checkpoint_of_another_run_is_refused(self, small: Recommender, world: pl.DataFrame, tmp_path: Path):
        training = Training(epochs=1)
        small.fit(world, training=training, checkpoint=tmp_path / "c", progress=False)
        with pytest.raises(UserError, match="expected a checkpoint of this very run"):
            small.fit(world.head(3000), training=training, checkpoint=tmp_path / "c", resume=True, progress=False)

    def test_without_resume_training_starts_anew(self, small: Recommender, world: pl.DataFrame, tmp_path: Path):
        small.fit(world, training=Training(epochs=1), checkpoint=tmp_path / "c", progress=False)
        again = small.fit(world, training=Training(epochs=2), checkpoint=tmp_path / "c", progress=False)
        assert len(again.curves) == 2


class TestSelection:
    def test_stops_after_patience_and_keeps_the_best_epoch(self, small: Recommender, world: pl.DataFrame):
        fitted = small.fit(world, training=Training(epochs=40, batch_size=128, learning_rate=0.05, patience=2), progress=False)
        facts = fitted.parts.facts.training
        utilities = [entry["utility"] for entry in fitted.curves]
        assert len(utilities) < 40
        assert facts["best_epoch"] == utilities.index(max(utilities)) + 1 == len(utilities) - 2

    def test_a_declared_utility_chooses(self, small: Recommender, world: pl.DataFrame):
        training = Training(epochs=3, utility={"stars.rmse": -1.0, "like.gauc": 2.0})
        entry = small.fit(world, training=training, progress=False).curves[0]
        assert entry["utility"] == pytest.approx(2 * entry["like.gauc"] - entry["stars.rmse"])

    def test_an_unknown_utility_is_refused_with_the_nearest(self, small: Recommender, world: pl.DataFrame):
        with pytest.raises(UserError, match="utility 'like.auk'.*Did you mean 'like.auc'"):
            small.fit(world, training=Training(utility={"like.auk": 1.0}), progress=False)

    def test_a_utility_that_is_undefined_on_validation_is_refused_at_once(self, small: Recommender, split):
        one_row_each = split[1].unique("user_id", maintain_order=True)
        with pytest.raises(UserError, match=r"the utility on validation: expected a number, found NaN \(like\.gauc\)"):
            small.fit(split[0], one_row_each, training=Training(utility={"like.gauc": 1.0}), progress=False)

    def test_a_task_of_one_validation_label_is_not_judged_and_spoils_nothing(self, small: Recommender, split):
        held = split[1].with_columns(genres=pl.lit(["drama"], dtype=pl.List(pl.String)))
        alike = held.with_columns(rating=pl.lit(5))
        fitted = small.fit(split[0], held, training=Training(epochs=2), progress=False)
        assert fitted.parts.facts.training.best_epoch > 0
        stars = small.replace(tasks=small.tasks[1:2], fusion=Multiply())
        with pytest.raises(UserError, match="validation: expected observed labels of several values"):
            stars.fit(split[0], alike, progress=False)

    def test_given_validation_rows_are_used(self, small: Recommender, split):
        fitted = small.fit(split[0], split[1], training=Training(epochs=2), progress=False)
        judged = fitted.evaluate(split[1], ranking=False)
        best = fitted.parts.facts.training.validation
        assert best["like.auc"] == pytest.approx(judged.tasks["like"]["auc"])
        assert best["stars.rmse"] == pytest.approx(judged.tasks["stars"]["rmse"])
        assert fitted.parts.facts.data == {**fitted.parts.facts.data, "rows": 6000, "training_rows": 5000}

    @pytest.mark.parametrize("chosen", [TimeSplit(fraction=0.2), LastSplit(count=3)])
    def test_other_splits(self, small: Recommender, world: pl.DataFrame, chosen):
        assert len(small.fit(world, training=Training(epochs=1, split=chosen), progress=False).curves) == 1

    def test_refit_learns_from_all_rows(self, small: Recommender, world: pl.DataFrame):
        fitted = small.fit(world, training=Training(epochs=2, refit=True), progress=False)
        assert fitted.parts.facts.data.training_rows == world.height


class TestMissingLabels:
    def test_most_labels_missing_and_batches_without_any(self, small: Recommender, world: pl.DataFrame):
        gaps = world.with_columns(
            rating=pl.when(pl.int_range(pl.len()).shuffle(1) % 10 < 3).then("rating"),
            genres=pl.when(pl.int_range(pl.len()).shuffle(2) % 10 < 3).then("genres"),
        )
        fitted = small.fit(gaps, training=Training(epochs=3, batch_size=4, split=TimeSplit()), progress=False)
        assert all(value.isfinite().all() for value in fitted.parts.weights.values())
        assert fitted.evaluate(world.tail(1000), ranking=False).tasks["like"]["auc"] > 0.6

    def test_a_task_without_a_label_in_training_batches_of_another(self, world: pl.DataFrame):
        """Rows of two sources: one has clicks, the other stars; no row has both, many batches only one."""
        two = world.with_columns(
            click=pl.when(pl.col("timestamp") < 1000).then(pl.col("rating") >= 4),
            stars=pl.when(pl.col("timestamp") >= 1000).then("rating"),
        )
        recommender = Recommender(
            user=(Categorical(name="user_id"),),
            item=(Categorical(name="item_id"),),
            tasks=(Binary(name="clicks", label="click"), Regression(name="rating_of", label="stars")),
            training=Training(epochs=2, batch_size=1),
        )
        fitted = recommender.fit(two.drop("rating").gather_every(20), progress=False)
        assert fitted.parts.facts.observed["clicks"] > 0
        assert fitted.parts.facts.observed["rating_of"] > 0


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (pl.col("rating").cast(pl.String).alias("rating"), "label 'rating >= 4'|expression that fits|type String"),
            (pl.lit(None, pl.Int64).alias("rating"), "null in all"),
            (pl.lit(5).alias("rating"), "True in all 4500 observed rows"),
            (
                pl.lit(float("nan")).alias("age"),
                "column 'age' of the feature 'age': expected finite numbers or null, found NaN",
            ),
            (pl.lit(float("inf")).alias("age"), "found NaN or infinity in"),
            (pl.lit("old").alias("age"), "column 'age' of the feature 'age': expected numbers, found the type String"),
            (pl.lit(1.5).alias("item_id"), "column 'item_id' of the feature 'item_id': expected integers, strings"),
            (pl.lit(None, pl.Int64).alias("timestamp"), "time column 'timestamp': expected a time in every row, found null"),
            (
                pl.format("g{}", "item_id").alias("genres"),
                "label 'CASE WHEN rating >= 4 THEN genres END'.*expected lists, found the type String",
            ),
        ],
    )
    def test_is_named_with_its_remedy(self, small: Recommender, split, change: pl.Expr, message: str):
        with pytest.raises(UserError, match=message):
            small.fit(split[0].with_columns(change), progress=False)

    @pytest.mark.parametrize("column", ["user_id", "item_id", "age", "rating", "genres"])
    def test_a_missing_column_is_named(self, small: Recommender, world: pl.DataFrame, column: str):
        with pytest.raises(UserError, match=f"expected a column '{column}', found no such column"):
            small.fit(world.drop(column), progress=False)

    def test_a_history_needs_a_time(self, small: Recommender, world: pl.DataFrame):
        with pytest.raises(UserError, match="a history: expected a time column"):
            small.fit(world.drop("timestamp"), progress=False)

    def test_one_row_cannot_be_split(self, small: Recommender, world: pl.DataFrame):
        with pytest.raises(UserError, match="expected rows on both sides"):
            small.fit(world.head(1), progress=False)

    def test_a_history_column_of_the_wrong_type(self, small: Recommender, world: pl.DataFrame):
        broken = world.with_columns(item_id=pl.concat_list("item_id"))
        with pytest.raises(UserError, match="column 'item_id' of the feature 'item_id'.*found the type List"):
            small.fit(broken, progress=False)

    def test_ids_above_32_bits_and_in_unicode(self, small: Recommender, world: pl.DataFrame):
        wide = world.with_columns(item_id=pl.col("item_id") + 2**40, user_id=pl.format("用户-{}-é", "user_id"))
        fitted = small.fit(wide, training=Training(epochs=1), progress=False)
        assert fitted.recommend(user_id="用户-101-é", k=3)["item_id"].min() > 2**40

    def test_a_weight_of_an_unknown_task(self, small: Recommender):
        with pytest.raises(ValueError, match="weight of 'lik': expected a task's name.*Did you mean 'like'"):
            small.replace(balancing=FixedWeights(weights={"lik": 1.0}))

    def test_a_history_of_nothing(self):
        with pytest.raises(
            ValueError, match="history 'h' is of 'itemid', which is no feature that it can read.* mean 'item_id'"
        ):
            Recommender(
                user=(Categorical(name="user_id"), History(name="h", of="itemid")),
                item=(Categorical(name="item_id"),),
                tasks=(Binary(name="like", label="x"),),
            )

    def test_two_features_of_one_name(self):
        with pytest.raises(ValueError, match="two features are named 'a'"):
            Recommender(features=(Numeric(name="a"), Categorical(name="a")), tasks=(Binary(name="like", label="x"),))
