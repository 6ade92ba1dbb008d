"""Ranking validation rows after every epoch, against the same done by hand from the fitted recommender."""

import polars as pl
import pytest
import torch

from polyrec import Categorical, History, Recommender, Retrieval, SharedBottom, Training, UserError


def declaration(**training: object) -> Recommender:
    settings = {"epochs": 3, "batch_size": 200, "learning_rate": 0.01, "patience": None, **training}
    return Recommender(
        user=(Categorical(name="user_id", width=8), History(name="met", of="item_id", length=5, width=8)),
        item=(Categorical(name="item_id", width=8),),
        tasks=(Retrieval(name="next", label="rating >= 4", tower=(), width=8, negatives=16),),
        network=SharedBottom(hidden=(16,)),
        training=Training.model_validate(settings),
    )


def test_is_what_the_vectors_of_the_best_epoch_give(world: pl.DataFrame):
    learn, held = world[:2500], world[2500:3000]
    spec = declaration(utility={"next.recall@10": 1.0}, watch=("next.ndcg@10",))
    fitted = spec.fit(learn, held, progress=False)
    best = fitted.curves[fitted.parts.facts.training.best_epoch - 1]
    assert best["utility"] == best["next.recall@10"] == max(entry["next.recall@10"] for entry in fitted.curves)
    liked = held.filter(pl.col("rating") >= 4)
    user_NK = fitted.raw_tensors(liked)["next"].chunk(2, 1)[0]
    rows = fitted.items.with_columns(user_id=pl.lit(101), timestamp=pl.lit(0))
    item_IK = fitted.raw_tensors(rows)["next"].chunk(2, 1)[1]
    place = dict(zip(fitted.items["item_id"], range(fitted.items.height), strict=True))
    own_N = torch.tensor([place[item] for item in liked["item_id"]])
    cosine_NI = user_NK @ item_IK.T
    ranks_N = (cosine_NI > cosine_NI[torch.arange(len(own_N)), own_N][:, None]).sum(1)
    assert best["next.recall@10"] == pytest.approx(float((ranks_N < 10).float().mean()), abs=2 / len(own_N))
    expected = torch.where(ranks_N < 10, 1 / (ranks_N + 2.0).log2(), 0.0).mean()
    assert best["next.ndcg@10"] == pytest.approx(float(expected), abs=2 / len(own_N))


def test_a_figure_that_is_not_asked_for_is_not_computed(world: pl.DataFrame):
    entry = declaration(epochs=1).fit(world[:1000], progress=False).curves[0]
    assert not any("@10" in name for name in entry)


def test_a_task_that_ranks_nothing_has_no_such_figure(small: Recommender, world: pl.DataFrame):
    training = small.training.replace(epochs=1, watch=("like.recall@10",))
    with pytest.raises(UserError, match="figure to watch 'like.recall@10'"):
        small.replace(training=training).fit(world[:1000], progress=False)
