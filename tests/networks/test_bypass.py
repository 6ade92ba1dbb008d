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


def declaration(**changes: object) -> Recommender:
    fields: dict[str, object] = {
        "user": (Categorical(name="user_id", width=4), History(name="met", of="item_id", length=5, width=8, pooling=Recency())),
        "item": (Categorical(name="item_id", width=8),),
        "tasks": (
            Retrieval(name="next", label="true", inputs=("met", "item_id"), direct=True, negatives=16),
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
    rows = fitted._prepare(world[:40])
    batch = rows.batch(torch.arange(40))
    vectors = {name: model.encode(batch, [name]) for name in ("met", "item_id")}
    expected = (1 + functional.cosine_similarity(vectors["met"], vectors["item_id"])) / 2
    np.testing.assert_allclose(fitted.predict(world[:40])["next"].to_numpy(), expected.detach().numpy(), atol=1e-6)
    assert not [name for name, _ in model.named_parameters() if name.startswith("heads.next")]


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
        ({"inputs": ("user_id", "item_id")}, "widths {'user_id': 4, 'item_id': 8}: they must be equal"),
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


def test_a_model_of_tables_alone_is_trained(world: pl.DataFrame):
    """Nothing is left to the optimiser of weights where every weight is a row of a table."""
    spec = declaration(tasks=declaration().tasks[:1], network=polyrec.SharedBottom(hidden=()))
    entry = spec.fit(world[:1000], progress=False).curves
    assert entry[-1]["next.loss"] < entry[0]["next.loss"]
