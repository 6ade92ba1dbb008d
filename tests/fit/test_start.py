"""Training goes on from an earlier fit: known ids keep what was learned, new ones begin as unknown, little is forgotten."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    FixedWeights,
    Hashed,
    History,
    Joint,
    MMoE,
    MultiCategorical,
    Numeric,
    Piecewise,
    Recommender,
    Regression,
    Retrieval,
    SharedBottom,
    Streamed,
    Training,
    UserError,
)
from polyrec.features.vocabulary import VALUE

STILL = Training(epochs=1, batch_size=256, learning_rate=1e-12, table_learning_rate=1e-12)
"""One epoch in which nothing is learned."""


def rows(count: int, users: int, items: int, seed: int, start: int = 0) -> pl.DataFrame:
    """Return rows whose label is a matter of user and item, with ids that are not positions."""
    tastes = np.random.default_rng(0)
    of_user, of_item = tastes.normal(size=(200, 2)), tastes.normal(size=(200, 2))
    generator = np.random.default_rng(seed)
    user, item = generator.integers(users, size=count), generator.integers(items, size=count)
    raw = (of_user[user] * of_item[item]).sum(1) + 1.5 * of_item[item, 0]
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "item_id": item * 7 + 5,
            "liked": raw + 0.3 * generator.normal(size=count) > 0,
            "price": np.exp(item / 50),
            "tags": [[f"t{number % 7}", f"t{number % 11}"] for number in item],
            "timestamp": np.arange(start, start + count),
        }
    )


OLD, NEW = rows(6000, users=40, items=40, seed=1), rows(3000, users=60, items=60, seed=2, start=6000)
BOTH = pl.concat([OLD, NEW])

PLAIN = Recommender(
    user=(Categorical(name="user_id", width=8, id_dropout=0.1),),
    item=(Categorical(name="item_id", width=8, minimum_count=3), Numeric(name="price", width=4)),
    tasks=(Binary(name="like", label="liked", tower=(8,)),),
    network=SharedBottom(hidden=(16,)),
    training=Training(epochs=20, batch_size=256, learning_rate=0.005, patience=None),
)


@pytest.fixture(scope="module")
def plain() -> Fitted:
    return PLAIN.fit(OLD, progress=False)


def auc(fitted: Fitted, table: pl.DataFrame) -> float:
    return fitted.evaluate(table, ranking=False).tasks["like"]["auc"]


class TestWhatIsTakenOver:
    @pytest.mark.parametrize(
        "features",
        [
            (Hashed(name="item_hash", column="item_id", rows=40, width=8),),
            (Piecewise(name="steps", column="price", bins=8, width=4),),
            (Streamed(name="stream", column="item_id", rows=70, admit_after=1, width=8),),
            (Categorical(name="day", column="item_id", width=8), Categorical(name="hour", column="user_id", width=8)),
        ],
        ids=["Hashed", "Piecewise", "Streamed", "shared table"],
    )
    def test_untrained_it_predicts_what_the_start_does_for_ids_old_and_new(self, features: tuple):
        spec = PLAIN.replace(features=features, training=Training(epochs=2, batch_size=256, learning_rate=0.01))
        first = spec.fit(OLD, progress=False)
        more = pl.concat([OLD.filter(pl.col("user_id") != "u3"), NEW, NEW.filter(pl.col("item_id") > 200)])
        then = spec.fit(more, training=STILL, start=first, progress=False)
        assert then.parts.feature_states["user_id"][VALUE].to_list() != first.parts.feature_states["user_id"][VALUE].to_list()
        asked = BOTH.filter(pl.col("user_id") != "u3")
        assert torch.allclose(then.predict_tensors(asked)["like"], first.predict_tensors(asked)["like"], atol=1e-6)

    def test_vocabularies_are_those_of_the_table_and_scales_stay(self, plain: Fitted):
        table = BOTH.filter(pl.col("user_id") != "u3")
        then = PLAIN.fit(table, NEW, training=STILL, start=plain, progress=False)
        anew = PLAIN.fit(table, NEW, training=STILL, progress=False)
        states, new, old = then.parts.feature_states, anew.parts.feature_states, plain.parts.feature_states
        for name in ("user_id", "item_id"):
            assert states[name].equals(new[name])
        assert "u3" not in states["user_id"][VALUE]
        assert states["price"].equals(old["price"]) and not states["price"].equals(new["price"])

    def test_bags_histories_experts_and_losses_of_items_go_on(self):
        spec = PLAIN.replace(
            user=(*PLAIN.user, History(name="liked_items", of="film", where="liked", length=5, width=8)),
            item=(*PLAIN.item, MultiCategorical(name="tags", width=4), Joint(name="film", id="item_id", content="tags")),
            tasks=(*PLAIN.tasks, Retrieval(name="next", label="liked", negatives=16, width=8)),
            network=MMoE(experts=2, hidden=(8,)),
            training=Training(epochs=1, batch_size=256),
        )
        first = spec.fit(OLD, progress=False)
        then = spec.fit(BOTH, training=STILL, start=first, progress=False)
        for name, value in first.parts.weights.items():
            if value.shape == then.parts.weights[name].shape and "ids/" not in name and "tags" not in name:
                assert torch.allclose(value, then.parts.weights[name], atol=1e-6), name
        assert then.parts.task_states["next"].height == 60 > first.parts.task_states["next"].height
        bag = first.parts.feature_states["tags"][VALUE].to_list()
        bag_then = then.parts.feature_states["tags"][VALUE].to_list()
        name = next(name for name in first.parts.weights if "tags" in name and name.endswith("table.weight"))
        places = [bag_then.index(value) + 1 for value in bag]
        assert torch.allclose(first.parts.weights[name][1:], then.parts.weights[name][places], atol=1e-6)

    def test_rows_of_a_stream_that_change_hands_start_as_the_unknown(self):
        feature = Streamed(name="i", rows=3, admit_after=1)
        before = feature.fit(pl.DataFrame({"i": ["a", "b", "c"]}), pl.Series([1, 2, 3]))
        values, times = pl.DataFrame({"i": ["a", "b", "c", "c", "d"]}), pl.Series([1, 2, 3, 4, 5])
        after = feature.grow(values, before, times)
        row = dict(after.filter(pl.col("row") > 0).select(VALUE, "row").iter_rows())
        assert set(row) == {"b", "c", "d"} and after.filter(pl.col(VALUE) == "c")["count"].item() == 2
        taken = feature.rows_before(after, before).tolist()
        assert taken[row["d"]] == 0 and taken[row["b"]] == row["b"] and taken[row["c"]] == row["c"]
        assert feature.grow(pl.DataFrame({"i": ["a", "c"]}), before)[VALUE].to_list() == ["a", "c"]


class TestWhatIsLearned:
    def test_new_rows_are_learned_old_ones_kept_in_a_quarter_of_the_epochs(self, plain: Fitted):
        old, new = rows(3000, users=40, items=40, seed=3), rows(3000, users=60, items=60, seed=4, start=9000)
        held = np.random.default_rng(0).random(NEW.height) < 0.1
        learned, kept = pl.concat([OLD, NEW.filter(pl.Series(~held))]), NEW.filter(pl.Series(held))
        short = PLAIN.training.replace(epochs=5)
        warm = PLAIN.fit(learned, kept, short, start=plain, progress=False)
        cold = PLAIN.fit(learned, kept, short, progress=False)
        assert auc(warm, new) > auc(plain, new) + 0.1
        assert auc(warm, old) > auc(plain, old) - 0.005
        assert auc(warm, new) > auc(cold, new) + 0.02
        assert {"u55"} <= set(warm.parts.feature_states["user_id"][VALUE]) - set(plain.parts.feature_states["user_id"][VALUE])

    def test_resumed_it_ends_alike_and_a_checkpoint_of_another_start_is_refused(self, plain: Fitted, tmp_path: Path):
        training = PLAIN.training.replace(epochs=2)
        whole = PLAIN.fit(BOTH, training=training, start=plain, progress=False)
        PLAIN.fit(BOTH, training=training, start=plain, checkpoint=tmp_path / "c", progress=False)
        again = PLAIN.fit(BOTH, training=training, start=plain, checkpoint=tmp_path / "c", resume=True, progress=False)
        assert all(torch.equal(own, again.parts.weights[name]) for name, own in whole.parts.weights.items())
        for other in (None, whole):
            with pytest.raises(UserError, match="expected a checkpoint of this very run"):
                PLAIN.fit(BOTH, training=training, start=other, checkpoint=tmp_path / "c", resume=True, progress=False)

    def test_prepared_on_disk_it_is_the_same(self, plain: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("POLYREC_CACHE", str(tmp_path / "cache"))
        BOTH.write_parquet(tmp_path / "both.parquet")
        PLAIN.prepare(tmp_path / "both.parquet")
        training = PLAIN.training.replace(epochs=1)
        found, expected = (
            PLAIN.fit(data, training=training, start=plain, progress=False) for data in (tmp_path / "both.parquet", BOTH)
        )
        assert all(torch.equal(own, found.parts.weights[name]) for name, own in expected.parts.weights.items())

    def test_a_refit_goes_on_from_the_start_too(self, plain: Fitted):
        fitted = PLAIN.fit(BOTH, NEW, STILL.replace(refit=True), start=plain, progress=False)
        assert fitted.parts.facts.data.training_rows == BOTH.height + NEW.height
        assert torch.allclose(fitted.predict_tensors(OLD)["like"], plain.predict_tensors(OLD)["like"], atol=1e-6)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"user": (Categorical(name="user_id", width=16, id_dropout=0.1),)}, "feature 'user_id' .*width=8.*width=16"),
            ({"item": PLAIN.item[:1]}, r"`item` .*\['item_id', 'price'\].*\['item_id'\]"),
            ({"item": (PLAIN.item[0], Piecewise(name="price", width=4))}, "feature 'price' .*a Numeric.*a Piecewise"),
            ({"tasks": (Regression(name="like", label="liked"),)}, "task 'like' .*a Binary.*a Regression"),
            ({"tasks": (PLAIN.tasks[0].replace(tower=(4,)),)}, r"task 'like' .*tower=\[8\].*tower=\[4\]"),
            ({"network": SharedBottom(hidden=(8,))}, r"`network` .*hidden=\[16\].*hidden=\[8\]"),
            ({"time": "timestamp"}, "`time` .*None.*'timestamp'"),
        ],
    )
    def test_the_first_thing_that_does_not_fit_is_named(self, plain: Fitted, changes: dict, told: str):
        with pytest.raises(UserError, match=f"{told}.*fit from nothing"):
            PLAIN.replace(**changes).fit(BOTH, start=plain, progress=False)

    def test_what_weights_do_not_depend_on_may_change(self, plain: Fitted):
        spec = PLAIN.replace(balancing=FixedWeights(weights={"like": 2.0}), candidates=None, relevant="liked", training=STILL)
        assert spec.fit(BOTH, start=plain, progress=False).spec == spec
