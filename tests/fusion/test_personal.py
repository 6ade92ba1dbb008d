"""Personal: groups that want different tasks are told apart, others are left alone, and who is unknown is common."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

import polyrec
from polyrec import Add, Binary, Categorical, Fitted, Formula, Multiply, Numeric, Personal, Recommender, UserError
from polyrec.evaluate.metrics.lists import ListMetric
from polyrec.fusion.context import Context
from polyrec.fusion.fusion import State
from polyrec.fusion.weighted import SummedFusion
from polyrec.networks.shared_bottom import SharedBottom

PER, WIDTH = 10, 6
VECTORS = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(9))
"""What a model may have made of a group: the first vector is of a group that is not known."""
UNKNOWN = {"group": VECTORS[:1], "taste": torch.zeros(1, WIDTH)}


class World:
    """Users of two groups and their rows; where groups differ, the first wants clicks and the second buys."""

    def __init__(
        self, users: int, differ: bool, seed: int, second: float = 0.5, clicks: float = 0.5, lift: float = 0.0
    ) -> None:
        """`second` is the second group's share, `clicks` what a click weighs for users who do not differ, and `lift` the
        log-odds by which the second group finds anything better."""
        generator = torch.Generator().manual_seed(seed)
        self.user = torch.arange(users).repeat_interleave(PER)
        self.second = torch.rand(users, generator=generator)[self.user] < second
        click, buy = torch.rand(2, users * PER, generator=generator)
        wanted = torch.where(self.second, buy, click) if differ else clicks * click + (1 - clicks) * buy
        odds = 4 * (wanted - 0.5) + lift * (self.second.float() - 0.5)
        self.good = (torch.rand(users * PER, generator=generator) < torch.sigmoid(odds)).double()
        self.predictions = {"click": click, "buy": buy}
        self.labels = {"good": (torch.ones(users * PER, dtype=torch.bool), self.good)}
        taste = torch.randn(users, WIDTH, generator=generator)[self.user]
        self.context = Context({}, {"group": VECTORS[1 + self.second.long()], "taste": taste}, UNKNOWN)

    def learned(self, fusion: Personal) -> State:
        return fusion.fit(self.predictions, self.labels, {"click", "buy"}, self.context)

    def ndcg(self, score: Tensor) -> float:
        users = int(self.user.max()) + 1
        metric = ListMetric.of("ndcg@5", self.good.numpy(), np.arange(users * PER), self.user.numpy(), users)
        return metric.mean(metric.values(score.numpy()))

    def best_common(self, fusion: SummedFusion) -> float:
        """Return the NDCG of the best common weights, chosen on these very rows."""
        shares = np.linspace(0.05, 0.95, 19)
        named = [fusion.with_weights({"click": share, "buy": 1 - share}, ["click", "buy"]) for share in shares]
        return max(self.ndcg(fusion.score(self.predictions)) for fusion in named)


OF = [Add(weights={"click": 1.0, "buy": 1.0}), Multiply()]
TASKS = ("click", "buy")


def people(*groups: int) -> Context:
    """Return one row each of groups, 0 being unknown, whose taste is not known."""
    return Context({}, {"group": VECTORS[list(groups)], "taste": torch.zeros(len(groups), WIDTH)}, UNKNOWN)


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("tower", [(), (4,)])
def test_groups_that_want_other_tasks_are_served_better_than_by_any_common_weights(of: SummedFusion, tower: tuple[int, ...]):
    fusion = Personal(of=of, by=("group", "taste"), target={"good": 1.0}, tower=tower)
    state, judged = World(300, True, 0).learned(fusion), World(1000, True, 1)
    ndcg = judged.ndcg(fusion.score(judged.predictions, None, state, judged.context))
    assert ndcg > judged.best_common(of) + 0.05
    weights = fusion.weights_of(TASKS, state, people(1, 2, 0))
    first, second, unknown = (weights["click"] / weights["buy"]).tolist()
    assert first > 2
    assert second < 1 / 2
    assert 0.6 < unknown < 1.7


@pytest.mark.parametrize("of", OF)
def test_groups_that_want_the_same_lose_no_more_than_noise(of: SummedFusion):
    fusion = Personal(of=of, by=("group", "taste"), target={"good": 1.0})
    losses = []
    for seed in range(3):
        state, judged = World(300, False, seed).learned(fusion), World(1000, False, 100 + seed)
        ndcg = judged.ndcg(fusion.score(judged.predictions, None, state, judged.context))
        losses.append(judged.best_common(of) - ndcg)
        ratio = fusion.weights_of(TASKS, state, people(1, 2, 0))["click"]
        assert ((ratio > 0.75) & (ratio < 1.33)).all()
    assert np.mean(losses) < 0.004


def test_users_who_like_more_do_not_weigh_otherwise():
    fusion, ratios = Personal(of=OF[0], by=("group", "taste"), target={"good": 1.0}), []
    for seed in range(3):
        state = World(300, False, seed, clicks=0.75, lift=4.0).learned(fusion)
        weights = fusion.weights_of(TASKS, state, people(1, 2, 0))
        ratios.append((weights["click"] / weights["buy"]).log())
    mean = torch.stack(ratios).mean(0).exp()
    assert ((mean > 2) & (mean < 4.5)).all(), "all of them want clicks three times as much"


def test_who_is_unknown_is_taken_to_want_what_most_want():
    fusion = Personal(of=OF[0], by=("group", "taste"), target={"good": 1.0})
    state = World(300, True, 0, second=0.2).learned(fusion)
    weights = fusion.weights_of(TASKS, state, people(1, 2, 0))
    first, second, unknown = (weights["click"] / weights["buy"]).tolist()
    assert first > unknown > 1.8
    assert second < 0.5
    judged = World(1000, True, 1, second=0.2)
    nobody = fusion.score(judged.predictions, None, state, people(0))
    assert judged.ndcg(nobody) > judged.best_common(OF[0]) - 0.005


def test_held_hard_enough_it_is_the_fusion_that_it_is_of():
    fusion = Personal(of=OF[0], by=("group", "taste"), target={"good": 1.0}, penalty=1e9)
    world = World(100, True, 0)
    state = world.learned(fusion)
    torch.testing.assert_close(
        fusion.score(world.predictions, None, state, world.context), OF[0].score(world.predictions), rtol=1e-5, atol=1e-5
    )


def test_who_is_unknown_has_the_common_weights_and_what_is_unknown_adds_nothing():
    fusion = Personal(of=OF[0], by=("group", "taste"), target={"good": 1.0})
    world = World(300, True, 0)
    state = world.learned(fusion)
    biases = state["head"]["bias"].to_numpy()
    common = np.exp(np.log(10) * np.tanh((biases - biases.mean()) / np.log(10)))
    weights = fusion.weights_of(TASKS, state, people(0))
    np.testing.assert_allclose([weights[task].item() for task in TASKS], common, rtol=1e-12)
    nearly = Context({}, {name: values + 1e-9 for name, values in people(0).features.items()})
    assert torch.equal(fusion.weights_of(TASKS, state, nearly)["click"], weights["click"])


def test_weights_are_bounded_and_only_their_ratio_is_learned():
    fusion = Personal(of=OF[0], by=("group", "taste"), target={"good": 1.0}, penalty=0.0)
    state = World(20, True, 0).learned(fusion)
    far = Context({}, {name: 1e6 * values for name, values in people(1, 2).features.items()})
    weights = fusion.weights_of(TASKS, state, far)
    assert all((values.log().abs() <= np.log(10) * (1 + 1e-12)).all() for values in weights.values())
    torch.testing.assert_close(weights["click"] * weights["buy"], torch.ones(2, dtype=torch.float64))


def test_weights_of_a_request_take_the_place_of_the_common_ones():
    fusion = Personal(of=OF[0], by=("group", "taste"), target={"good": 1.0})
    world = World(100, True, 0)
    state = world.learned(fusion)
    before = fusion.weights_of(TASKS, state, people(1, 2))
    asked = fusion.with_weights({"click": 3.0, "buy": -0.5}, TASKS)
    after = asked.weights_of(TASKS, state, people(1, 2))
    torch.testing.assert_close(after["click"], 3 * before["click"])
    torch.testing.assert_close(after["buy"], -0.5 * before["buy"])
    only = fusion.with_weights({"click": 0.0}, TASKS)
    score = only.score(world.predictions, None, state, world.context)
    expected = only.weights_of(TASKS, state, world.context)["buy"] * world.predictions["buy"].double()
    assert torch.equal(score, expected)


def test_a_task_that_weighed_nothing_when_it_learned_has_no_factor():
    fusion = Personal(of=Add(weights={"click": 1.0, "buy": 2.0, "good": 0.0}), by=("group", "taste"), target={"good": 1.0})
    world = World(100, True, 0)
    predictions = {**world.predictions, "good": torch.rand(1000)}
    state = fusion.fit(predictions, world.labels, {"click", "buy", "good"}, world.context)
    assert state["tasks"]["task"].to_list() == ["click", "buy"]
    asked = fusion.with_weights({"good": 0.5}, (*TASKS, "good"))
    assert asked.weights_of((*TASKS, "good"), state, people(1))["good"].item() == 0.5


def test_what_cannot_be_personal_is_named(small: Recommender):
    with pytest.raises(ValueError, match="Personal needs a fusion with a weight for each task, Add or Multiply, not Formula"):
        Personal(of=Formula(expression="like"), by=("age",))
    with pytest.raises(ValueError, match="the fusion Personal reads 'agee', no feature of the user.* Did you mean 'age'"):
        small.replace(fusion=Personal(by=("agee",)))
    with pytest.raises(ValueError, match="the fusion Personal reads 'item_id', no feature of the user or the row alone"):
        small.replace(fusion=Personal(by=("item_id",)))
    world = World(20, True, 0)
    with pytest.raises(UserError, match="Personal: expected two or more tasks with a weight, found 1"):
        world.learned(Personal(of=Add(weights={"click": 1.0}), by=("group", "taste")))


def events(rows: int, seed: int) -> pl.DataFrame:
    """Return what users of two groups made of items that are clicked or bought: good is a click for some, a buy for others."""
    generator = np.random.default_rng(0)
    clicked, bought = generator.uniform(0.05, 0.95, (2, 60))
    generator = np.random.default_rng(seed)
    user, item = generator.integers(200, size=rows), generator.integers(60, size=rows)
    click, buy = generator.random(rows) < clicked[item], generator.random(rows) < bought[item]
    group = np.where(user % 2 == 0, "reader", "shopper")
    good = np.where(user % 2 == 0, click, buy)
    return pl.DataFrame(
        {"user_id": user, "item_id": item, "group": group, "age": 20.0 + user, "click": click, "buy": buy, "good": good}
    )


@pytest.fixture(scope="module")
def shop() -> Fitted:
    spec = Recommender(
        user=(Categorical(name="user_id", width=4), Categorical(name="group", width=4), Numeric(name="age", width=4)),
        item=(Categorical(name="item_id", width=4),),
        tasks=tuple(Binary(name=name, label=name, tower=(8,)) for name in ("click", "buy", "good")),
        network=SharedBottom(hidden=(16,)),
        fusion=Personal(of=Add(weights={"click": 1.0, "buy": 1.0}), by=("group", "age"), target={"good": 1.0}),
        training=polyrec.Training(epochs=4, batch_size=256, learning_rate=0.02),
    )
    return spec.fit(events(12_000, 1), progress=False)


def ndcg(table: pl.DataFrame, score: pl.Series) -> float:
    metric = ListMetric.of("ndcg@5", table["good"].to_numpy(), np.arange(table.height), table["user_id"].to_numpy(), 200)
    return metric.mean(metric.values(score.to_numpy()))


class TestFitted:
    def test_ranks_held_out_rows_better_than_the_best_common_weights(self, shop: Fitted):
        table = events(4000, 2)
        said = shop.predict(table)
        shares = np.linspace(0, 1, 21)
        common = [ndcg(table, share * said["click"] + (1 - share) * said["buy"]) for share in shares]
        assert ndcg(table, said["score"]) > max(common) + 0.03

    def test_tells_the_weights_of_users(self, shop: Fitted):
        weights = shop.weights_of(pl.DataFrame({"user_id": [2, 3, 9999, None]}))
        assert weights.columns == ["user_id", "weight.click", "weight.buy", "weight.good"]
        click, buy = weights["weight.click"].to_list(), weights["weight.buy"].to_list()
        assert click[0] > 1.5 * buy[0]
        assert buy[1] > 1.5 * click[1]
        assert click[2] == click[3]
        assert 0.7 < click[2] / buy[2] < 1.4
        assert weights["weight.good"].to_list() == [0.0] * 4

    def test_users_never_met_are_weighed_by_their_features(self, shop: Fitted):
        described = shop.weights_of(pl.DataFrame({"group": ["reader", "shopper", None], "age": [100.0, 101.0, None]}))
        ratio = (described["weight.click"] / described["weight.buy"]).to_list()
        assert ratio[0] > 1.5 > 1 / 1.5 > ratio[1]
        reader, shopper = shop.recommend(group="reader", k=60), shop.recommend(group="shopper", k=60)
        assert reader["item_id"].to_list() != shopper["item_id"].to_list()

    def test_the_score_is_of_the_weights_that_are_told(self, shop: Fitted):
        listed = shop.recommend(user_id=2, k=60, exclude_seen=False)
        weights = shop.weights_of(pl.DataFrame({"user_id": [2]}))
        expected = sum(weights[f"weight.{task}"][0] * listed[task].cast(pl.Float64) for task in ("click", "buy"))
        np.testing.assert_allclose(listed["score"], expected, rtol=1e-6)
        asked = shop.recommend(user_id=2, k=60, exclude_seen=False, weights={"click": 0.0, "buy": 2.0})
        np.testing.assert_allclose(asked["score"], 2 * weights["weight.buy"][0] * asked["buy"].cast(pl.Float64), rtol=1e-6)

    def test_tables_lists_and_artifacts_agree(self, shop: Fitted, tmp_path: Path):
        loaded = polyrec.load(shop.save(tmp_path / "artifact"))
        listed = loaded.recommend(user_id=3, k=60, exclude_seen=False)
        assert listed.equals(shop.recommend(user_id=3, k=60, exclude_seen=False))
        assert loaded.score(3, listed["item_id"]).tolist() == listed["score"].to_list()
        table = pl.DataFrame({"user_id": [3] * 60, "item_id": listed["item_id"], "group": ["shopper"] * 60, "age": [23.0] * 60})
        np.testing.assert_allclose(loaded.predict(table)["score"], listed["score"], rtol=1e-5)

    def test_common_weights_can_be_searched_for_beneath(self, shop: Fitted):
        study = shop.tune_fusion(events(2000, 3), {"good.ndcg@5": 1.0}, trials=3)
        assert study.given.weights == {"click": 1.0, "buy": 1.0}
        steered = study.apply(shop)
        assert isinstance(steered.spec.fusion, Personal)
        assert steered.spec.fusion.of.weights_among(TASKS) == pytest.approx(study.best.weights)
        assert steered.recommend(user_id=3).height == 10

    def test_weights_that_are_the_same_for_all_are_told_too(self, fitted: Fitted):
        weights = fitted.weights_of(pl.DataFrame({"user_id": [101, 102]}))
        assert weights["weight.like"].to_list() == [1.0, 1.0]
        assert weights["weight.stars"].to_list() == [0.5, 0.5]

    def test_a_column_of_no_user_is_named(self, shop: Fitted):
        with pytest.raises(UserError, match="column 'gruop' of the users: .* Did you mean 'group'"):
            shop.weights_of(pl.DataFrame({"gruop": ["reader"]}))
