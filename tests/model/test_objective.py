"""Tasks that come after others: probabilities of paths, what flows between towers, and the space that each metric is of."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrec import Binary, Categorical, FixedWeights, MMoE, Product, Recommender, Regression, Training, Transfer, UserError
from polyrec.data.encoding import encode_labels
from polyrec.model.objective import Objective

CHAIN = (
    Binary(name="click", label="click"),
    Binary(name="cart", label="cart", after="click"),
    Binary(name="buy", label="buy", after="cart"),
)
FORK = (
    CHAIN[0],
    CHAIN[1],
    Binary(name="like", label="like", after="click"),
    Binary(name="both", label="b", after=("cart", "like")),
)
logits = st.floats(-30, 30)


def states(tasks: tuple) -> dict[str, pl.DataFrame]:
    return {task.name: pl.DataFrame({"rate": [0.5], "mean": [0.0], "scale": [1.0]}) for task in tasks}


class TestProduct:
    @given(raw=st.lists(st.tuples(*[logits] * 5), min_size=1, max_size=5))
    @pytest.mark.parametrize("tasks", [FORK, (*CHAIN, *FORK[2:]), (*CHAIN, *FORK[2:])[::-1]], ids=["fork", "both", "reversed"])
    def test_of_a_path_never_exceeds_that_of_any_earlier_task_of_a_graph(
        self, tasks: tuple[Binary, ...], raw: list[tuple[float, ...]]
    ):
        columns = dict(zip(("click", "cart", "buy", "like", "both"), torch.tensor(raw).T, strict=True))
        predictions = Objective(tasks).predictions(columns, states(tasks))
        earlier = [(task.name, name) for task in tasks if task.after for name in task.after.tasks if name in predictions]
        assert ("both", "like") in earlier
        for later, before in earlier:
            assert (predictions[later] <= predictions[before]).all(), (later, before)

    @given(raw=st.lists(st.tuples(logits, logits, logits), min_size=1, max_size=5))
    def test_of_a_path_never_exceeds_that_of_an_earlier_task(self, raw: list[tuple[float, float, float]]):
        columns = torch.tensor(raw).T
        predictions = Objective(CHAIN).predictions(dict(zip(("click", "cart", "buy"), columns, strict=True)), states(CHAIN))
        assert (predictions["buy"] <= predictions["cart"]).all()
        assert (predictions["cart"] <= predictions["click"]).all()

    def test_multiplies_every_task_on_the_path_once(self):
        raw = {name: torch.tensor([float(place)]) for place, name in enumerate(("click", "cart", "like", "both"))}
        p = {name: 1 / (1 + math.exp(-value.item())) for name, value in raw.items()}
        predictions = Objective(FORK).predictions(raw, states(FORK))
        assert math.isclose(predictions["both"].item(), p["click"] * p["cart"] * p["like"] * p["both"], rel_tol=1e-6)

    def test_has_the_loss_of_the_papers(self):
        """ESMM's cross-entropy of p(click) p(buy | click), computed by hand for three rows."""
        tasks = (CHAIN[0], CHAIN[2].replace(after="click"))
        raw = {"click": torch.tensor([0.4, -1.0, 2.0]), "buy": torch.tensor([1.0, 0.5, -0.3])}
        targets = {"click": torch.tensor([1.0, 0.0, 1.0]), "buy": torch.tensor([1.0, 0.0, 0.0])}
        masks = {name: torch.ones(3, dtype=torch.bool) for name in raw}
        loss, counts = Objective(tasks).losses(raw, targets, masks)["buy"]
        path = torch.sigmoid(raw["click"]) * torch.sigmoid(raw["buy"])
        expected = [-math.log(path[0]), -math.log(1 - path[1]), -math.log(1 - path[2])]
        torch.testing.assert_close(loss, torch.tensor(expected))
        assert loss[0].item() == pytest.approx(0.82628, abs=1e-4)
        assert counts.all()

    def test_weighs_by_the_clipped_inverse_of_the_propensity(self):
        """ESCM2-IPS by hand: row 0 has propensity .6, row 1 .01 clipped at .1, row 2 was not clicked."""
        link = Product(tasks=("click",), propensity_clip=0.1, propensity_weight=0.5)
        tasks = (CHAIN[0], CHAIN[2].replace(after=link))
        raw = {"click": torch.logit(torch.tensor([0.6, 0.01, 0.5])).requires_grad_(), "buy": torch.tensor([0.0, 1.0, 2.0])}
        targets = {"click": torch.tensor([1.0, 1.0, 0.0]), "buy": torch.tensor([1.0, 0.0, 0.0])}
        masks = {name: torch.ones(3, dtype=torch.bool) for name in raw}
        with_weights = Objective(tasks).losses(raw, targets, masks)["buy"][0]
        without = Objective((CHAIN[0], CHAIN[2].replace(after="click"))).losses(raw, targets, masks)["buy"][0]
        added = with_weights - without
        torch.testing.assert_close(added, 0.5 * torch.tensor([math.log(2) / 0.6, math.log(1 + math.e) / 0.1, 0.0]))
        assert torch.autograd.grad(added.sum(), raw["click"])[0].abs().max() == 0, "propensities are taken as given"

    @given(a=logits, b=logits)
    def test_has_a_finite_loss_and_slope_however_far_off(self, a: float, b: float):
        raw = {name: torch.tensor([value, value], requires_grad=True) for name, value in (("click", a), ("buy", b))}
        targets = {"click": torch.tensor([1.0, 0.0]), "buy": torch.tensor([1.0, 0.0])}
        masks = {name: torch.ones(2, dtype=torch.bool) for name in raw}
        loss = Objective((CHAIN[0], CHAIN[2].replace(after="click"))).losses(raw, targets, masks)["buy"][0]
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert all(torch.isfinite(value.grad).all() for value in raw.values())

    def test_knows_that_nothing_follows_what_did_not_happen(self):
        labels = {"click": pl.Series([1, 0, None, 1]), "cart": pl.Series([1, None, None, None]), "buy": pl.Series([None] * 4)}
        labels["buy"] = labels["buy"].cast(pl.Int64)
        targets, masks = encode_labels(labels, CHAIN, states(CHAIN))
        assert masks["cart"].tolist() == [True, True, False, False]
        assert masks["buy"].tolist() == [False, True, False, False]
        assert targets["buy"][1] == 0

    def test_refuses_what_happened_after_what_did_not(self):
        labels = {"click": pl.Series([1, 0]), "cart": pl.Series([1, 1]), "buy": pl.Series([0, 0])}
        with pytest.raises(UserError, match="1 rows in which it is true and 'click' is not"):
            encode_labels(labels, CHAIN, states(CHAIN))


class TestDeclaration:
    def test_by_name_alone_is_a_product(self):
        assert CHAIN[1].after == Product(tasks=("click",))
        assert Recommender.from_yaml(recommender(CHAIN).to_yaml()) == recommender(CHAIN)

    @pytest.mark.parametrize(
        ("tasks", "message"),
        [
            ((CHAIN[1].replace(after="clic"), CHAIN[0]), "'clic', which is no other task.*'click'"),
            ((CHAIN[0].replace(after="cart"), CHAIN[1]), r"\['click', 'cart'\] form a cycle of `after`"),
            ((CHAIN[0].replace(after="click"),), "no other task"),
            ((CHAIN[0], Regression(name="price", label="price", after="click")), "both Binary, or use Transfer"),
        ],
    )
    def test_that_makes_no_sense_is_refused(self, tasks: tuple, message: str):
        with pytest.raises(ValidationError, match=message):
            recommender(tasks)


def recommender(tasks: tuple, **changes: object) -> Recommender:
    training = Training(epochs=15, batch_size=256, learning_rate=0.01)
    parts = {"network": MMoE(experts=2, hidden=(16,)), "balancing": FixedWeights(), "training": training} | changes
    return Recommender(features=(Categorical(name="shelf", width=8), Categorical(name="hour", width=8)), tasks=tasks, **parts)


@pytest.fixture(scope="module")
def funnel() -> pl.DataFrame:
    """Impressions whose clicks and purchases are confounded: what draws clicks keeps from buying."""
    generator = np.random.default_rng(0)
    shelf, hour = generator.integers(8, size=8000), generator.integers(6, size=8000)
    p_click = 1 / (1 + np.exp(-(shelf - 4.0) / 1.5))
    p_buy = 1 / (1 + np.exp((shelf - 4.0) / 2 + (hour - 3) / 2))
    click = generator.random(8000) < p_click
    buy = click & (generator.random(8000) < p_buy)
    frame = pl.DataFrame({"shelf": shelf, "hour": hour, "click": click, "buy": buy, "p_click": p_click, "p_buy": p_buy})
    return frame.with_columns(stars=pl.when("click").then(3.0 + pl.col("hour") / 6))


class TestFit:
    def test_by_a_product_learns_both_probabilities(self, funnel: pl.DataFrame):
        tasks = (CHAIN[0], CHAIN[2].replace(after="click"))
        fitted = recommender(tasks).fit(funnel, progress=False)
        predictions = fitted.predict(funnel)
        path = funnel["p_click"] * funnel["p_buy"]
        assert float((predictions["buy"] - path).abs().mean()) < 0.03
        assert (predictions["buy"] <= predictions["click"]).all()
        metrics = fitted.evaluate(funnel).tasks["buy"]
        assert next(iter(metrics)) == "auc_all_rows"
        assert "auc_given_click" in metrics
        assert "auc" not in metrics
        clicked = funnel.filter("click")
        from sklearn.metrics import roc_auc_score

        assert metrics["auc_all_rows"] == pytest.approx(roc_auc_score(funnel["buy"], predictions["buy"]), abs=1e-6)
        inside = metrics["auc_given_click"]
        assert abs(inside - roc_auc_score(clicked["buy"], clicked["p_buy"])) < 0.02
        assert inside > roc_auc_score(clicked["buy"], fitted.predict(clicked)["buy"]), "the path is another order"

    @pytest.mark.parametrize("link", [Product(tasks=("click",), propensity_clip=0.05), Transfer(tasks=("click",))])
    def test_by_other_links_learns_too(self, funnel: pl.DataFrame, link: Product | Transfer):
        tasks = (CHAIN[2].replace(after=link), CHAIN[0])
        fitted = recommender(tasks).fit(funnel, progress=False)
        metrics = fitted.evaluate(funnel).tasks["buy"]
        best = fitted.evaluate(funnel.with_columns(shelf=pl.lit(None, pl.Int64))).tasks["buy"]
        assert metrics["auc_all_rows"] > best["auc_all_rows"] + 0.02
        assert list(fitted.predict(funnel.head(3)).columns) == ["score", "buy", "click"]

    def test_by_a_transfer_may_follow_any_task(self, funnel: pl.DataFrame):
        stars = Regression(name="stars", label="stars", after=Transfer(tasks=("click",)))
        fitted = recommender((CHAIN[0], stars)).fit(funnel, progress=False)
        metrics = fitted.evaluate(funnel).tasks["stars"]
        assert metrics["rmse_given_click"] == pytest.approx(metrics["rmse_all_rows"])
        assert metrics["r2_given_click"] > 0.9

    def test_may_be_chosen_by_either_space(self, funnel: pl.DataFrame):
        tasks = (CHAIN[0], CHAIN[2].replace(after="click"))
        training = Training(epochs=2, utility={"buy.auc_given_click": 1.0})
        fitted = recommender(tasks, training=training).fit(funnel, progress=False)
        assert all(entry["utility"] == entry["buy.auc_given_click"] for entry in fitted.curves)
        with pytest.raises(UserError, match="Did you mean 'buy.auc_all_rows'"):
            recommender(tasks, training=Training(utility={"buy.auc": 1.0})).fit(funnel, progress=False)


class TestTransfer:
    def test_constrains_the_later_probability(self):
        """AITM's calibrator by hand: 0.6 max(p_buy - p_click, 0) on top of the cross-entropy."""
        tasks = (CHAIN[0], CHAIN[2].replace(after=Transfer(tasks=("click",), constraint=0.6)))
        raw = {"click": torch.tensor([0.0, 0.0]), "buy": torch.tensor([1.0, -1.0])}
        targets = {"click": torch.tensor([1.0, 1.0]), "buy": torch.tensor([1.0, 0.0])}
        masks = {name: torch.ones(2, dtype=torch.bool) for name in raw}
        loss = Objective(tasks).losses(raw, targets, masks)["buy"][0]
        plain = math.log(1 + math.exp(-1))
        excess = 0.6 * (1 / (1 + math.exp(-1)) - 0.5)
        torch.testing.assert_close(loss, torch.tensor([plain + excess, plain]))

    def test_constrains_by_a_binary_task_beside_one_that_is_none(self):
        """Stars are no probability, yet what exceeds the probability of like counts, by hand: sigmoid(5) - sigmoid(-5)."""
        like, stars = Binary(name="like", label="like"), Regression(name="stars", label="stars")
        raw = {"like": torch.tensor([-5.0, 5.0]), "stars": torch.tensor([0.5, 0.5]), "last": torch.tensor([5.0, 5.0])}
        targets = {"like": torch.tensor([0.0, 1.0]), "stars": torch.zeros(2), "last": torch.ones(2)}
        masks = {name: torch.ones(2, dtype=torch.bool) for name in raw}
        plain = math.log(1 + math.exp(-5))
        excess = 1 / (1 + math.exp(-5)) - 1 / (1 + math.exp(5))
        for before in (("like", "stars"), ("stars", "like"), ("like",)):
            last = Binary(name="last", label="last", after=Transfer(tasks=before, constraint=2.0))
            loss = Objective((like, stars, last)).losses(raw, targets, masks)["last"][0]
            torch.testing.assert_close(loss, torch.tensor([plain + 2 * excess, plain]))

    @given(raw=st.lists(st.tuples(*[logits] * 3), min_size=1, max_size=5), constraint=st.floats(0, 5), data=st.data())
    def test_never_lowers_the_loss_and_leaves_it_where_the_later_is_less_probable(
        self, raw: list[tuple[float, ...]], constraint: float, data: st.DataObject
    ):
        names = ("click", "like", "buy")
        columns = dict(zip(names, torch.tensor(raw, dtype=torch.float64).T, strict=True))
        rows = st.lists(st.sampled_from([0.0, 1.0]), min_size=len(raw), max_size=len(raw))
        targets = {name: torch.tensor(data.draw(rows), dtype=torch.float64) for name in names}
        masks = {name: torch.ones(len(raw), dtype=torch.bool) for name in names}
        link = Transfer(tasks=("click", "like"), constraint=constraint)
        tasks = (CHAIN[0], FORK[2].replace(after=None), CHAIN[2].replace(after=link))
        loss = Objective(tasks).losses(columns, targets, masks)["buy"][0]
        plain = tasks[2].loss(columns["buy"], targets["buy"])
        assert (loss >= plain).all()
        less = (columns["buy"] <= columns["click"]) & (columns["buy"] <= columns["like"])
        torch.testing.assert_close(loss[less], plain[less])

    @given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 0.1, 1.0, 30.0]), earlier=st.integers(1, 3))
    def test_hands_on_a_mixture_of_values_that_lies_among_them(self, seed: int, scale: float, earlier: int):
        torch.manual_seed(seed)
        module = Transfer(tasks=tuple("abc"[:earlier])).build(4, [3] * earlier).double()
        state_H, states = scale * torch.randn(6, 4).double(), [scale * torch.randn(6, 3).double() for _ in range(earlier)]
        sent = [torch.relu(send(state)) for send, state in zip(module.sent, states, strict=True)]
        values = torch.stack([module.value(state) for state in (state_H, *sent)])
        combined = module(state_H, states)
        assert (combined <= values.amax(0) + 1e-9).all()
        assert (combined >= values.amin(0) - 1e-9).all()

    def test_attends_as_the_paper_says(self):
        torch.manual_seed(0)
        module = Transfer(tasks=("a", "b")).build(4, [3, 5])
        state_H, earlier = torch.randn(2, 4), [torch.randn(2, 3), torch.randn(2, 5)]
        parts = [state_H, *(torch.relu(send(state)) for send, state in zip(module.sent, earlier, strict=True))]
        scores = torch.stack([(module.query(u) * module.key(u)).sum(1) / 2 for u in parts], 1)
        weights = torch.softmax(scores, 1)
        expected = sum(weights[:, [place]] * module.value(u) for place, u in enumerate(parts))
        torch.testing.assert_close(module(state_H, earlier), expected)
