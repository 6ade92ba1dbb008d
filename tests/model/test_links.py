"""Links between tasks through a whole fit: no leak, no order of declaration, a skill with a zero, a baseline alike."""

import polars as pl
import pytest
import torch
from pydantic import ValidationError

from polyrec import (
    Binary,
    Categorical,
    FixedWeights,
    Listwise,
    Numeric,
    Pairwise,
    Product,
    Recommender,
    Training,
    Transfer,
    UserError,
)
from polyrec.data.encoding import encode_labels
from polyrec.model.objective import Objective

VISITS = pl.DataFrame(
    {
        "shelf": [0, 1, 2, 3] * 60,
        "click": [1, 1, 0, 1] * 60,
        "cart": [1, 0, None, 1] * 60,
        "buy": [1, None, None, 0] * 60,
    }
)
CLICK = Binary(name="click", label="click")
CART = Binary(name="cart", label="cart", after="click")
BUY = Binary(name="buy", label="buy", after="cart")


def recommender(*tasks: Binary, features: tuple = (Categorical(name="shelf", width=4),)) -> Recommender:
    return Recommender(features=features, tasks=tasks, training=Training(epochs=1, batch_size=64))


@pytest.mark.parametrize("link", [Product(tasks=("click",)), Transfer(tasks=("click",))])
def test_a_feature_that_reads_the_label_is_refused_also_where_only_an_earlier_task_sees_it(link: Product | Transfer):
    features = (Numeric(name="price"), Categorical(name="rating"))
    click = Binary(name="click", label="price > 0.5", inputs=("rating",))
    like = Binary(name="like", label="rating >= 4", inputs=("price",), after=link)
    with pytest.raises((ValidationError, UserError), match="'rating', which the label"):
        recommender(click, like, features=features)


@pytest.mark.parametrize("order", [(CLICK, CART, BUY), (BUY, CART, CLICK), (CART, BUY, CLICK)])
def test_what_cannot_have_happened_is_known_whatever_the_order_of_declaration(order: tuple[Binary, ...]):
    states = {task.name: pl.DataFrame({"rate": [0.5]}) for task in order}
    labels = {task.name: VISITS[task.name].head(4) for task in order}
    targets, masks = encode_labels(labels, order, states)
    assert masks["buy"].tolist() == [True, True, True, True]
    assert targets["buy"].tolist() == [1, 0, 0, 0]
    with pytest.raises(UserError, match="expected false wherever the earlier task 'cart' is false"):
        encode_labels(labels | {"buy": pl.Series([1, None, 1, 0])}, order, states)


def test_the_best_constant_has_no_skill_with_propensities_either():
    """Skill measures the loss of the path; what inverse propensities add in training is not in it."""
    buy = CART.replace(after=Product(tasks=("click",), propensity_clip=0.01))
    targets = {"click": torch.tensor([1.0, 1.0, 0.0, 0.0]), "cart": torch.tensor([1.0, 0.0, 0.0, 0.0])}
    masks = {name: torch.ones(4, dtype=torch.bool) for name in targets}
    objective = Objective((CLICK, buy))
    rate = {"click": torch.full((4,), 0.5), "cart": torch.full((4,), 0.5)}
    raw = {name: torch.logit(value) for name, value in rate.items()}
    losses, constants = objective.mean_losses(raw, targets, masks), objective.constants(targets, masks)
    for name in targets:
        assert losses[name] == pytest.approx(constants[name], rel=1e-5)


def test_a_task_alone_learns_the_label_of_its_path():
    alone = recommender(CLICK, CART, BUY).alone("buy")
    assert alone.tasks[0].after is None
    from polyrec.data.labels import read_labels

    assert read_labels(VISITS.head(4), alone.tasks[0]).to_list() == [True, False, False, False]
    assert recommender(CLICK, CART).alone("click").tasks[0] == CLICK


def test_large_samples_of_lists_keep_their_groups_whole():
    """The loss of the best constant over lists of four is log 4 however many lists there are."""
    task = Listwise(name="choice", label="gain", within="request")
    rows = 140_000
    frame = pl.DataFrame({"label": [1.0, 0.0, 0.0, 0.0] * (rows // 4), "group": [row // 4 for row in range(rows)]})
    labels = frame.to_struct("label")
    state = task.fit(labels)
    targets = {"choice": task.targets(labels, state)}
    masks = {"choice": task.observed(labels, state)}
    loss = Objective((task,)).constants(targets, masks)["choice"]
    assert loss == pytest.approx(torch.tensor(4.0).log().item(), rel=1e-3)


def test_groups_of_two_kinds_are_refused():
    tasks = (Pairwise(name="order", label="click", within="shelf"), Listwise(name="choice", label="click", within="cart"))
    with pytest.raises(ValidationError, match="different groups"):
        Recommender(features=(Categorical(name="shelf"),), tasks=tasks, balancing=FixedWeights())
