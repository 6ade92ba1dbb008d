"""Concat on hidden states: what they add, that scores keep their sign, and that no further pass is run for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import polyrec
from polyrec import Concat, Fitted, Platt, Recommender, UserError
from polyrec.fusion.context import Context
from polyrec.networks.shared_network import SharedNetwork

ROWS, WIDTH = 1500, 30


def world(signal: float, seed: int, rows: int = ROWS) -> tuple[dict[str, Tensor], Context, Tensor]:
    """Return predictions, hidden states of which some say more, and labels that depend on both."""
    generator = torch.Generator().manual_seed(seed)
    like, stars = torch.rand(rows, generator=generator), 1 + 4 * torch.rand(rows, generator=generator)
    states = {name: 3 + 10 * torch.randn(rows, WIDTH, generator=generator) for name in ("like", "interest")}
    odds = torch.logit(like) + signal * (states["interest"][:, 0] - 3) / 10 - signal * (states["like"][:, 1] - 3) / 10
    good = torch.rand(rows, generator=generator) < torch.sigmoid(odds)
    return {"like": like, "stars": stars}, Context(states), good.double()


def loss_of(fusion: Concat, signal: float) -> float:
    """Return the cross-entropy on other rows than those that a fusion learned from."""
    predictions, context, good = world(signal, 0)
    state = fusion.fit(predictions, {"like": (torch.ones(ROWS, dtype=torch.bool), good)}, {"like"}, context)
    predictions, context, good = world(signal, 1, 5000)
    return float(functional.binary_cross_entropy_with_logits(fusion.score(predictions, None, state, context), good))


@pytest.mark.parametrize("tower", [(), (8,)])
@pytest.mark.parametrize("monotone", [True, False])
def test_learns_what_no_prediction_says(tower: tuple[int, ...], monotone: bool):
    plain, deep = (
        loss_of(Concat(target={"like": 1.0}, tower=tower, monotone=monotone, states=states), 1.0) for states in ((), "all")
    )
    assert deep < plain - 0.05


def test_states_that_say_nothing_cost_little_for_they_are_held_to_nothing():
    plain, held, free = (
        loss_of(Concat(target={"like": 1.0}, states=states, states_penalty=penalty), 0.0)
        for states, penalty in (((), 8.0), ("all", 8.0), ("all", 0.01))
    )
    assert held < plain + 0.01
    assert free > plain + 0.05


def test_the_penalty_does_not_ask_how_many_numbers_there_are():
    predictions, context, good = world(1.0, 0)
    twice = Context({**context.states, **{f"{name}'": state for name, state in context.states.items()}})
    fusion, wanted = Concat(target={"like": 1.0}, states="all", tower=()), (torch.ones(ROWS, dtype=torch.bool), good)
    once, doubled = (
        fusion.score(predictions, None, fusion.fit(predictions, {"like": wanted}, {"like"}, variant), variant)
        for variant in (context, twice)
    )
    torch.testing.assert_close(once, doubled, rtol=1e-3, atol=1e-3)


STATE = Concat(target={"like": 1.0, "stars": -0.5}, states="all", tower=(6, 3)).fit(
    world(1.0, 0)[0],
    {
        "like": (torch.ones(ROWS, dtype=torch.bool), 1 - world(1.0, 0)[2]),
        "stars": (torch.ones(ROWS, dtype=torch.bool), world(1.0, 0)[0]["stars"].double()),
    },
    {"like"},
    world(1.0, 0)[1],
)
"""A head that was taught against its sign."""


@given(seed=st.integers(0, 10**6), more_like=st.floats(0, 1), more_stars=st.floats(0, 50))
def test_monotone_is_of_the_predictions_whatever_the_states(seed: int, more_like: float, more_stars: float):
    predictions, context, _ = world(1.0, seed, 20)
    fusion = Concat(target={"like": 1.0, "stars": -0.5}, states="all", tower=(6, 3))
    liked = {**predictions, "like": (predictions["like"] + more_like).clamp(max=1)}
    starred = {**predictions, "stars": predictions["stars"] + more_stars}
    plain, liked_score, starred_score = (fusion.score(values, None, STATE, context) for values in (predictions, liked, starred))
    assert (liked_score >= plain - 1e-12).all()
    assert (starred_score <= plain + 1e-12).all()


def test_the_weights_of_states_have_both_signs_and_others_one():
    predictions, context, good = world(1.0, 0)
    fusion = Concat(target={"like": 1.0}, states="all", tower=())
    state = fusion.fit(predictions, {"like": (torch.ones(ROWS, dtype=torch.bool), good)}, {"like"}, context)
    weights = state["vectors"]["weights"].list.first().to_numpy()
    assert state["vectors"]["of"].to_list() == ["like"] * WIDTH + ["interest"] * WIDTH
    assert weights[WIDTH] > 0.2
    assert weights[1] < -0.2
    assert min(state["head"]["weights"][0]) >= 0


def test_a_state_that_is_dead_counts_for_nothing():
    predictions, context, good = world(1.0, 0)
    dead = Context({name: state * (torch.arange(WIDTH) < 5) for name, state in context.states.items()})
    fusion = Concat(target={"like": 1.0}, states="all")
    state = fusion.fit(predictions, {"like": (torch.ones(ROWS, dtype=torch.bool), good)}, {"like"}, dead)
    assert torch.isfinite(fusion.score(predictions, None, state, dead)).all()
    assert np.abs(np.array(state["vectors"]["weights"].to_list())[5:WIDTH]).max() == 0


@pytest.fixture(scope="module")
def headed(small: Recommender, split) -> Fitted:
    fusion = Concat(target={"like": 1.0, "stars": 0.5}, states=("like", "interest"))
    training = small.training.replace(epochs=2)
    return small.replace(calibration={"like": Platt()}, fusion=fusion, training=training).fit(split[0], progress=False)


def test_the_states_are_what_heads_are_given_of_several_outputs_too(headed: Fitted, split):
    assert headed.parts.fusion_states["vectors"]["of"].unique(maintain_order=True).to_list() == ["like", "interest"]
    raw = headed.raw_tensors(split[1])
    assert [*raw.context.states] == ["like", "interest"]
    for name, states in raw.context.states.items():
        with torch.inference_mode():
            torch.testing.assert_close(headed.model.heads[name](states), raw[name])


def test_predictions_scores_and_lists_agree(headed: Fitted, split, tmp_path: Path):
    loaded = polyrec.load(headed.save(tmp_path / "artifact"))
    assert loaded.predict(split[1]).equals(headed.predict(split[1]))
    everything = loaded.recommend(user_id=101, k=60, exclude_seen=False)
    assert everything.equals(headed.recommend(user_id=101, k=60, exclude_seen=False))
    assert loaded.score(101, everything["item_id"]).tolist() == everything["score"].to_list()
    few = everything["item_id"][3:10]
    np.testing.assert_allclose(loaded.score(101, few), everything["score"][3:10], rtol=1e-5, atol=1e-5)
    rows = pl.DataFrame({"user_id": [101] * 7, "item_id": few, "age": [21.0] * 7})
    np.testing.assert_allclose(loaded.predict(rows)["score"], everything["score"][3:10], rtol=1e-4, atol=1e-4)
    assert loaded.evaluate(split[1]).fusion.keys() == headed.evaluate(split[1]).fusion.keys()


def test_the_states_are_of_the_pass_that_predicts(headed: Fitted, fitted: Fitted, split):
    passes = []
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: passes.append(module) if isinstance(module, SharedNetwork) else None
    )
    counts = []
    for model in (headed, fitted):
        model.recommend(user_id=101)
        passes.clear()
        model.predict(split[1])
        model.recommend(user_id=101)
        model.score(101, [5, 12])
        counts.append(len(passes))
    hook.remove()
    assert counts[0] == counts[1] > 0


def test_a_search_is_told_that_there_are_no_weights(headed: Fitted, split):
    with pytest.raises(UserError, match="the fusion Concat: expected weights to search for, found none"):
        headed.tune_fusion(split[1], {"like.gauc": 1.0})


def test_states_of_no_task_are_named(small: Recommender):
    with pytest.raises(ValueError, match="hidden states of 'intrest' in the fusion: .* Did you mean 'interest'"):
        small.replace(fusion=Concat(states=("intrest",)))


def test_another_model_than_it_learned_from_is_refused(small: Recommender, world: pl.DataFrame):
    training = small.training.replace(refit=True, epochs=1)
    for fusion in (Concat(states="all"), polyrec.Personal(by=("age",))):
        with pytest.raises(UserError, match="expected the model that validation judged, found training with `refit`"):
            small.replace(fusion=fusion).fit(world.head(500), training=training, progress=False)
    headed = small.replace(fusion=Concat()).fit(world.head(1500), training=training, progress=False)
    assert headed.parts.fusion_states.keys() == {"inputs", "head"}


def test_states_of_views_stand_side_by_side(small: Recommender, split):
    tasks = (*small.tasks[:2], polyrec.Retrieval(name="met", label="rating >= 4", width=4, tower=(4,), negatives=0))
    spec = small.replace(tasks=tasks, fusion=Concat(target={"like": 1.0}, states=("met",)))
    met = spec.fit(split[0].head(2000), training=small.training.replace(epochs=1), progress=False)
    assert met.predict_tensors(split[1]).context.states["met"].shape == (1000, 32)
    assert met.recommend(user_id=101).height == 10


def test_none_are_kept_for_a_fusion_that_reads_none(headed: Fitted, split):
    other = Fitted(replace(headed.parts, spec=headed.spec.replace(fusion=Concat())), headed.model)
    assert other.predict_tensors(split[1]).context.states == {}
