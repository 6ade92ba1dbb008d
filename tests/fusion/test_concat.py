"""Concat: it learns what is good, never against a task that is wanted, and is the same when loaded."""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

import polyrec
from polyrec import Concat, Fitted, Platt, Recommender, UserError
from polyrec.fusion.target import worth

ROWS = 600


def rows(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"like": torch.rand(ROWS, generator=generator), "stars": 1 + 4 * torch.rand(ROWS, generator=generator)}


def labels(**values: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    return {task: (torch.ones(ROWS, dtype=torch.bool), label.double()) for task, label in values.items()}


def drawn(share: Tensor, seed: int = 1) -> Tensor:
    return (torch.rand(ROWS, generator=torch.Generator().manual_seed(seed)) < share).double()


def test_without_layers_and_penalty_it_is_the_logistic_regression_of_scikit_learn():
    given_rows = rows()
    truth = drawn(torch.sigmoid(2 * torch.logit(given_rows["like"]) - (given_rows["stars"] - 3)))
    fusion = Concat(target={"like": 1.0}, tower=(), monotone=False, penalty=0.0)
    state = fusion.fit(given_rows, labels(like=truth, stars=given_rows["stars"]), {"like"})
    logits = torch.logit(given_rows["like"].double()), given_rows["stars"].double()
    x = np.stack([(logit - logit.mean()) / logit.std() for logit in logits], 1)
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, truth).decision_function(x)
    np.testing.assert_allclose(fusion.score(given_rows, None, state).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_layers_learn_what_no_weighted_sum_can_say():
    given_rows = rows()
    truth = drawn(0.05 + 0.9 * ((given_rows["like"] > 0.5) & (given_rows["stars"] > 3)).float())
    wanted = labels(like=truth, stars=given_rows["stars"])

    def loss(fusion: Concat) -> float:
        scores = fusion.score(given_rows, None, fusion.fit(given_rows, wanted, {"like"}))
        return float(torch.nn.functional.binary_cross_entropy_with_logits(scores, truth))

    plain, deep = (loss(Concat(target={"like": 1.0}, tower=tower)) for tower in ((), (8,)))
    assert deep < 0.75 * plain


@cache
def state(tower: tuple[int, ...]) -> object:
    """Return a head that was taught against its sign: stars are good where the label says, and yet wanted low."""
    fusion = Concat(target={"like": 1.0, "stars": -0.5}, tower=tower)
    return fusion.fit(rows(), labels(like=drawn(rows()["like"]), stars=6 - rows()["stars"]), {"like"})


@given(
    tower=st.sampled_from([(), (4,), (6, 3)]),
    like=st.floats(0, 1),
    stars=st.floats(-50, 50),
    more_like=st.floats(0, 1),
    more_stars=st.floats(0, 50),
)
def test_monotone_never_falls_with_what_is_wanted_nor_rises_with_what_is_not(
    tower: tuple[int, ...], like: float, stars: float, more_like: float, more_stars: float
):
    given_rows = {
        "like": torch.tensor([like, min(like + more_like, 1), like], dtype=torch.float64),
        "stars": torch.tensor([stars, stars, stars + more_stars], dtype=torch.float64),
    }
    fusion = Concat(target={"like": 1.0, "stars": -0.5}, tower=tower)
    plain, liked, starred = fusion.score(given_rows, None, state(tower)).tolist()
    assert liked >= plain - 1e-12
    assert starred <= plain + 1e-12


def test_free_weights_may_fall():
    given_rows = rows()
    wanted = labels(like=drawn(1 - given_rows["like"]), stars=given_rows["stars"])
    slopes = []
    for monotone in (True, False):
        fusion = Concat(target={"like": 1.0}, tower=(), monotone=monotone)
        state = fusion.fit(given_rows, wanted, {"like"})
        slopes.append(state["head"]["weights"][0][0])
    assert slopes[0] >= 0 > slopes[1]


def test_the_target_is_the_mean_of_what_was_observed():
    known, label = torch.ones(4, dtype=torch.bool), torch.tensor([0.0, 1.0, 1.0, 0.0])
    wanted = {
        "like": (known, label),
        "stars": (torch.tensor([True, True, False, False]), torch.tensor([1.0, 5.0, 99.0, 99.0])),
        "complaint": (torch.tensor([False, False, False, True]), torch.tensor([0.0, 0.0, 0.0, 1.0])),
    }
    target, is_known = worth({"like": 1.0, "stars": 0.5}, wanted, "Concat")
    assert target.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert is_known.all()
    target, is_known = worth({"stars": 1.0, "like": -3.0}, wanted, "Concat")
    assert target.tolist() == [0.75, 0.25, 0.0, 1.0]
    assert worth({"stars": 2.0}, wanted, "Concat")[1].tolist() == [True, True, False, False]


def test_the_same_seed_is_the_same_head():
    wanted = labels(like=drawn(rows()["like"]), stars=rows()["stars"])
    heads = [Concat(seed=seed).fit(rows(), wanted, {"like"})["head"] for seed in (0, 0, 1)]
    assert heads[0].equals(heads[1])
    assert not heads[0].equals(heads[2])


def test_rows_that_teach_nothing_are_refused():
    for wanted in (labels(like=torch.zeros(ROWS)), {"like": (torch.zeros(ROWS, dtype=torch.bool), torch.zeros(ROWS))}):
        with pytest.raises(UserError, match="Concat: expected validation rows to learn from, found none that differ"):
            Concat().fit(rows(), wanted, {"like"})
    with pytest.raises(UserError, match="target 'stars' of the fusion: expected one label per row"):
        Concat(target={"stars": 1.0}).fit(rows(), labels(like=drawn(rows()["like"])), {"like"})


@pytest.fixture(scope="module")
def headed(small: Recommender, split) -> Fitted:
    training = small.training.replace(epochs=2)
    fusion = Concat(target={"like": 1.0, "stars": 0.5})
    return small.replace(calibration={"like": Platt()}, fusion=fusion, training=training).fit(split[0], progress=False)


def test_fit_learns_it_on_validation_rows_after_calibration(headed: Fitted, split):
    frame = headed.predict(split[1])
    inputs = headed.parts.fusion_states["inputs"]
    assert inputs["task"].to_list() == ["like", "stars"]
    assert inputs["probability"].to_list() == [True, False]
    scalar = {task: frame[task].to_torch() for task in ("like", "stars")}
    again = headed.spec.fusion.score(scalar, None, headed.parts.fusion_states)
    assert again.tolist() == frame["score"].to_list()
    good = (split[1]["rating"] >= 4).to_numpy()
    assert roc_auc_score(good, frame["score"]) > 0.75


def test_saved_and_loaded_it_is_the_same_bit_for_bit(headed: Fitted, split, tmp_path: Path):
    loaded = polyrec.load(headed.save(tmp_path / "artifact"))
    assert loaded.predict(split[1]).equals(headed.predict(split[1]))
    assert loaded.recommend(user_id=101, k=60).equals(headed.recommend(user_id=101, k=60))
    assert {path.name for path in (tmp_path / "artifact" / "state" / "fusion").iterdir()} == {"inputs.parquet", "head.parquet"}
    rows = pl.DataFrame({"user_id": [101], "item_id": [5], "age": [21.0]})
    np.testing.assert_allclose(loaded.predict(rows)["score"], loaded.score(101, [5]), rtol=1e-5)


def test_it_has_no_weights_to_set_or_search(headed: Fitted, split):
    with pytest.raises(UserError, match="weight 'like' of the fusion: expected the name of a weight, found none. Known: none"):
        headed.recommend(user_id=101, weights={"like": 1.0})
    with pytest.raises(UserError, match="the fusion Concat: expected weights to search for, found none"):
        headed.tune_fusion(split[1], {"like.gauc": 1.0})
