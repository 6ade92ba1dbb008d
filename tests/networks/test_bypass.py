"""Tasks that hold two features against each other, past the shared network. Shape letters: K width of the two features."""

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

import polyrec
from polyrec import Binary, Categorical, Fitted, History, MMoE, Recommender, Retrieval, Training
from polyrec.networks.adapters import Adapters
from polyrec.networks.bypass import Bypass
from polyrec.networks.stem import STEM
from polyrec.poolings.recency import Recency
from polyrec.predict.rows import prepare_rows


def declaration(**changes: object) -> Recommender:
    fields: dict[str, object] = {
        "user": (Categorical(name="user_id", width=4), History(name="met", of="item_id", length=5, width=8, pooling=Recency())),
        "item": (Categorical(name="item_id", width=8),),
        "tasks": (
            Retrieval(name="next", label="true", inputs=("met", "item_id"), direct=True, width=8, negatives=16),
            Binary(name="like", label="rating >= 4", tower=(8,)),
        ),
        "network": MMoE(experts=2, hidden=(12,)),
        "training": Training(epochs=2, batch_size=200, learning_rate=0.01),
    }
    return Recommender.model_validate(fields | changes)


@pytest.fixture(scope="module")
def fitted(world: pl.DataFrame) -> Fitted:
    return declaration().fit(world[:2000], progress=False)


def test_the_score_is_the_cosine_of_the_two_features(fitted: Fitted, world: pl.DataFrame):
    model = fitted.model
    assert isinstance(model.network, Bypass)
    rows = prepare_rows(fitted.catalogue, world[:40])
    batch = rows.batch(torch.arange(40))
    vectors = {name: model.encode(batch, [name]) for name in ("met", "item_id")}
    linear = model.heads["next"].linear
    assert (linear.weight != 0).any()
    expected = (1 + functional.cosine_similarity(vectors["met"] + linear(vectors["met"]), vectors["item_id"])) / 2
    np.testing.assert_allclose(fitted.predict(world[:40])["next"].to_numpy(), expected.detach().numpy(), atol=1e-6)


def test_other_tasks_go_through_the_network(fitted: Fitted, world: pl.DataFrame):
    assert set(fitted.gates(world[:5])) == {"like"}
    assert fitted.curves[-1]["like.auc"] > 0.6


def test_lists_are_ranked_by_the_same_scores(fitted: Fitted, world: pl.DataFrame, tmp_path):
    top = polyrec.load(fitted.save(tmp_path / "artifact")).recommend(user_id=110, k=5, exclude_seen=False)
    np.testing.assert_allclose(fitted.score(110, top["item_id"]), top["score"].to_numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": "all"}, "its `inputs` are two features"),
        ({"inputs": ("met", "user_id", "item_id")}, "its `inputs` are two features"),
        ({"inputs": ("user_id", "item_id")}, "widths {'user_id': 4, 'item_id': 8}: make them equal"),
    ],
)
def test_inputs_that_cannot_be_held_against_each_other_are_refused(changes: dict[str, object], message: str):
    task = declaration().tasks[0].replace(**changes)
    with pytest.raises(ValidationError, match=message):
        declaration(tasks=(task,))


@pytest.mark.parametrize("network", [STEM(), MMoE(adapters=Adapters(features=("met",)))])
def test_networks_that_do_not_go_with_it_are_refused(network: object):
    with pytest.raises(ValidationError, match="task 'next' is direct"):
        declaration(network=network)


def test_new_items_can_be_lifted(fitted: Fitted, world: pl.DataFrame):
    """Items that no training row holds have more by half of what is added to their cosine, in rows and in lists."""
    items = pl.DataFrame({"item_id": [*world["item_id"].unique().sort(), 9001, 9002]})
    spec = fitted.spec
    lifted = spec.replace(tasks=(spec.tasks[0].replace(new_items=0.2), *spec.tasks[1:]))
    plain, other = (model.fit(polyrec.Tables(world[:2000], items=items), progress=False) for model in (spec, lifted))
    rows = pl.DataFrame({"user_id": [110, 110], "item_id": [12, 9001], "timestamp": [5000, 5000]})
    before, after = (model.predict(rows)["next"].to_numpy() for model in (plain, other))
    np.testing.assert_allclose(after - before, [0.0, 0.1], atol=1e-6)
    ranked = other.recommend(user_id=110, k=items.height, exclude_seen=False)
    same = plain.recommend(user_id=110, k=items.height, exclude_seen=False)
    gains = ranked.join(same, on="item_id").select("item_id", gain=pl.col("next") - pl.col("next_right"))
    expected = gains["item_id"].is_in([9001, 9002]).cast(pl.Float64) * 0.1
    np.testing.assert_allclose(gains["gain"].to_numpy(), expected.to_numpy(), atol=1e-6)


def test_a_model_of_little_else_than_tables_is_trained(world: pl.DataFrame):
    spec = declaration(tasks=declaration().tasks[:1], network=polyrec.SharedBottom(hidden=()))
    entry = spec.fit(world[:1000], progress=False).curves
    assert entry[-1]["next.loss"] < entry[0]["next.loss"]
