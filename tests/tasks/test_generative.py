"""Generative: its loss by hand, what it reads, and whole fits in which codes of the next item are learned and searched."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    Generative,
    History,
    Multiply,
    Recommender,
    SemanticIds,
    SharedBottom,
    Training,
    UserError,
    load,
)
from polyrec.compare.fits.tables import Split
from polyrec.compare.singles import Counter, single
from polyrec.compare.truths import read_truths
from polyrec.predict.generator import Generator
from polyrec.tasks.generative import GenerativeHead

TASK = Generative(name="next", label="met", of="codes")
STATE = pl.DataFrame({"levels": [2], "size": [3]})


def struct(label: list, numbers: list) -> pl.Series:
    return pl.DataFrame({"label": label, "numbers": pl.Series(numbers, dtype=pl.Array(pl.Int32, 2))}).to_struct()


class TestLabels:
    def test_teach_how_many_levels_and_numbers_there_are(self):
        state = TASK.fit(struct([True, None, False], [[1, 0], [4, 2], [0, 0]]))
        assert state.to_dict(as_series=False) == {"levels": [2], "size": [5]}

    def test_become_a_flag_and_the_numbers(self):
        target = TASK.targets(struct([True, None, False, True], [[1, 0], [2, 2], [0, 1], None]), STATE)
        assert target.tolist() == [[1, 1, 0], [-1, 2, 2], [0, 0, 1], [1, 0, 0]]
        assert TASK.counts(target).tolist() == [True, False, False, True]

    def test_without_numbers_serve_to_judge(self):
        assert TASK.targets(pl.Series([True, None]), STATE).tolist() == [[1, 0, 0], [-1, 0, 0]]

    def test_without_numbers_teach_nothing(self):
        with pytest.raises(UserError, match="label 'met' of the task 'next': expected the codes of a SemanticIds feature"):
            TASK.fit(pl.Series([True]))

    def test_none_of_which_is_true_are_refused(self):
        with pytest.raises(UserError, match="expected at least one true label, found none"):
            TASK.fit(struct([False, None], [[1, 0], [1, 0]]))


class TestLoss:
    def test_pinned_value(self):
        first, second = [0.0, math.log(2), math.log(5)], [math.log(3), 0.0, 0.0]
        raw = torch.tensor([[*first, 9.0, *second, 9.0]]).expand(2, -1)
        target = TASK.targets(struct([True, False], [[2, 1], [2, 1]]), STATE)
        torch.testing.assert_close(TASK.loss(raw, target), torch.tensor([-math.log(5 / 8) - math.log(1 / 5), 0.0]))

    def test_prediction_is_the_probability_of_the_row_s_own_numbers(self):
        first, second = [0.0, math.log(2), math.log(5)], [math.log(3), 0.0, 0.0]
        raw = torch.tensor([[*first, 2.0, *second, 1.0], [*first, 0.0, *second, 0.0]])
        torch.testing.assert_close(TASK.predict(raw, STATE), torch.tensor([5 / 8 / 5, 1 / 8 * 3 / 5]))

    @given(numbers=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
    def test_of_the_constant_is_the_entropy_of_each_level(self, numbers: list[tuple[int, int]]):
        target = TASK.targets(struct([True] * len(numbers), [list(own) for own in numbers]), STATE)
        loss = TASK.loss(TASK.constant(target).expand(len(target), -1), target).mean()
        shares = [np.unique(own, return_counts=True)[1] / len(numbers) for own in np.array(numbers).T]
        assert float(loss) == pytest.approx(sum(-(own * np.log(own)).sum() for own in shares), abs=1e-4)


def test_the_head_tells_a_level_from_the_codes_before_it_and_never_from_its_own():
    torch.manual_seed(0)
    head = TASK.build(4, STATE)
    assert isinstance(head, GenerativeHead)
    numbers = torch.cartesian_prod(torch.arange(3), torch.arange(3)).float()
    raw = head(torch.ones(1, 4).expand(9, -1), numbers).unflatten(1, (2, 4))
    assert torch.equal(raw[:, :, 3], numbers)
    torch.testing.assert_close(raw[:, 0, :3], raw[:1, 0, :3].expand(9, -1))
    torch.testing.assert_close(raw[0::3, 1, :3], raw[2::3, 1, :3])
    assert not torch.allclose(raw[0, 1, :3], raw[3, 1, :3])
    torch.testing.assert_close(TASK.predict(raw.flatten(1), STATE).sum(), torch.tensor(1.0))


KINDS = ("quiet drama", "loud war", "space comedy", "old western")


def table(rows: int = 2400, users: int = 60) -> pl.DataFrame:
    """Return what users met: three items of a kind after one another, then three of the next kind."""
    generator = np.random.default_rng(0)
    user = np.repeat(np.arange(users), rows // users)
    step = np.tile(np.arange(rows // users), users)
    kind = (step // 3 + user) % len(KINDS)
    item = kind * 6 + generator.integers(0, 6, rows)
    return pl.DataFrame(
        {
            "user_id": user,
            "timestamp": step,
            "item_id": item,
            "title": [f"{KINDS[own // 6]} film {own % 3}" for own in item],
            "rating": generator.integers(1, 6, rows),
        }
    )


def declare(**others: object) -> Recommender:
    settings: dict[str, object] = {
        "user": (
            Categorical(name="user_id", width=4),
            History(name="seen", of="codes", length=4, pooling="Recurrent", width=16),
        ),
        "item": (
            Categorical(name="item_id", width=4),
            SemanticIds(name="codes", template="{title}", levels=2, codes=8, key="item_id", width=16),
        ),
        "tasks": (
            Generative(name="next", label="item_id IS NOT NULL", of="codes", tower=(16,), code_width=8),
            Binary(name="like", label="rating >= 4", tower=(4,)),
        ),
        "network": SharedBottom(hidden=(16,)),
        "fusion": Multiply(powers={"next": 1.0}),
        "training": Training(epochs=8, batch_size=128, learning_rate=0.01, utility={"next.skill": 1.0}),
    }
    return Recommender(**(settings | others))


@pytest.fixture(scope="module")
def past() -> pl.DataFrame:
    return table().filter(pl.col("timestamp") < 36)


@pytest.fixture(scope="module")
def fitted(past: pl.DataFrame) -> Fitted:
    return declare().fit(past, progress=False)


class TestFit:
    def test_loss_falls_below_that_of_the_best_constant(self, fitted: Fitted):
        losses = [own["next.loss"] for own in fitted.curves]
        assert losses[-1] < 0.8 * losses[0]
        assert max(own["next.skill"] for own in fitted.curves) > 0.1

    def test_ranks_better_than_popularity(self, fitted: Fitted, past: pl.DataFrame):
        """The kind that comes next follows from the history; popularity knows nothing of it."""
        later = table().filter(pl.col("timestamp") == 36)
        users, answers = later["user_id"], dict(zip(later["user_id"], later["item_id"], strict=True))
        popular = past["item_id"].value_counts(sort=True)["item_id"][:6].to_list()
        by_model = [answers[u] in fitted.recommend(6, user_id=u, exclude_seen=False)["item_id"] for u in users]
        assert np.mean(by_model) > np.mean([answers[user] in popular for user in users]) + 0.3

    def test_is_judged_by_ranking_the_catalogue(self, past: pl.DataFrame):
        early = declare(training=Training(epochs=1)).fit(past.filter(pl.col("timestamp") < 3), progress=False)
        told = early.evaluate(past.filter(pl.col("timestamp") == 4), ks=(10,)).tasks["next"]
        assert 0 <= told["recall@10"] <= 1
        assert 0 <= told["ndcg@10"] <= told["recall@10"]

    def test_a_table_is_predicted_like_the_catalogue(self, fitted: Fitted):
        top = fitted.recommend(24, user_id=7, exclude_seen=False)
        titles = fitted.items.select("item_id", "title")
        rows = top.select(pl.lit(7, pl.Int64).alias("user_id"), "item_id").join(titles, on="item_id", maintain_order="left")
        np.testing.assert_allclose(fitted.predict(rows)["next"], top["next"], rtol=1e-4)

    def test_probabilities_of_the_catalogue_sum_to_one_at_most(self, fitted: Fitted):
        for user in (1, 2, None):
            total = fitted.recommend(24, user_id=user, exclude_seen=False)["next"].sum()
            assert 0.8 < total <= 1 + 1e-5

    def test_is_saved_and_loaded(self, fitted: Fitted, tmp_path):
        fitted.save(tmp_path / "artifact")
        again = load(tmp_path / "artifact")
        assert again.recommend(5, user_id=3).equals(fitted.recommend(5, user_id=3))
        assert Generator(again, "next")(5, user_id=3).equals(Generator(fitted, "next")(5, user_id=3))

    def test_is_exported_with_the_codes_among_its_inputs(self, past: pl.DataFrame, tmp_path):
        user = (Categorical(name="user_id", width=4), History(name="seen", of="codes", length=4, width=16))
        own = declare(user=user, training=Training(epochs=1)).fit(past, progress=False)
        rows = past.tail(20)
        own.export(tmp_path / "model", "torch")
        with (tmp_path / "model").open("rb") as file:
            program = torch.export.load(file).module()
        told = program({name: torch.from_numpy(value) for name, value in own.encode(rows).items()})
        np.testing.assert_allclose(told["next"], own.predict(rows)["next"], rtol=1e-4)

    def test_an_item_never_met_is_told_by_its_text(self, fitted: Fitted):
        known = fitted.recommend(24, user_id=5, exclude_seen=False).filter(pl.col("item_id") == 7)["next"]
        title = fitted.items.filter(pl.col("item_id") == 7)["title"].item()
        asked = pl.DataFrame({"user_id": [5], "item_id": [999], "title": [title], "rating": [None]})
        assert fitted.predict(asked)["next"][0] == pytest.approx(known[0], rel=1e-4)


class TestGenerator:
    @pytest.mark.parametrize("user", [{"user_id": 4}, {"user_id": 999}, {}])
    def test_with_as_many_beams_as_items_ranks_like_recommend(self, fitted: Fitted, user: dict):
        found = Generator(fitted, "next")(24, beams=24, exclude_seen=False, **user)
        expected = fitted.recommend(24, exclude_seen=False, **user)
        order = ["next", "item_id"]
        np.testing.assert_allclose(found["next"], expected["next"], rtol=1e-4)
        ties = [
            own.with_columns(pl.col("next").cast(pl.Float64).round(6)).sort(order)["item_id"].to_list()
            for own in (found, expected)
        ]
        assert ties[0] == ties[1]

    def test_leaves_out_what_the_user_has_met(self, past: pl.DataFrame):
        early = declare(training=Training(epochs=1)).fit(past.filter(pl.col("timestamp") < 3), progress=False)
        met = past.filter((pl.col("timestamp") < 3) & (pl.col("user_id") == 4))["item_id"]
        found = Generator(early, "next")(24, beams=24, user_id=4)["item_id"]
        assert len(found) == found.n_unique() == early.items.height - met.n_unique()
        assert not set(found) & set(met)

    def test_is_of_a_generative_task(self, fitted: Fitted):
        with pytest.raises(UserError, match="task 'like': expected a Generative task"):
            Generator(fitted, "like")

    @pytest.mark.parametrize("asked", [{"k": 0}, {"beams": 0}])
    def test_asks_for_one_at_least(self, fitted: Fitted, asked: dict):
        with pytest.raises(UserError, match="expected 1 or more, found 0"):
            Generator(fitted, "next")(user_id=1, **asked)


class TestDeclaration:
    def test_of_no_semantic_ids_is_refused_with_the_nearest(self):
        with pytest.raises(
            ValidationError, match="task 'next' is of 'code', which is no SemanticIds of `item`. Did you mean 'codes'"
        ):
            declare(tasks=(Generative(name="next", label="rating", of="code"),))

    def test_after_a_task_is_refused(self):
        with pytest.raises(ValidationError, match="cannot come `after` a task"):
            Generative(name="next", label="met", of="codes", after="click")

    def test_a_history_that_sees_the_item_is_refused(self):
        """It would tell the codes to be told."""
        user = (Categorical(name="user_id"), History(name="seen", of="codes", pooling="DIN"))
        with pytest.raises(ValidationError, match="sees the history 'seen' but not 'codes'"):
            declare(user=user)


def test_takes_part_in_a_comparison(past: pl.DataFrame):
    """Its state, and that of a model of its own, are learned with the codes beside the labels."""
    spec = declare()
    count = Counter(spec, past)
    assert count.tasks["next"].to_dict(as_series=False) == {"levels": [3], "size": [9]}
    assert abs(count(single(spec, spec.tasks[0], count)) / count(spec) - 1) < 0.1
    assert read_truths(spec, Split(past, past[:50], Path(), Path(), ""), 1)["next"].headline is None
