"""Contributions sum up, agree with captum's rule written out, and are those of the features that matter."""

import numpy as np
import polars as pl
import pytest
import torch

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    History,
    MMoE,
    Numeric,
    Recommender,
    Regression,
    Retrieval,
    SharedBottom,
    Training,
)
from polyrec.explain.integrated_gradients import SMALL_GAP, attribute


def declare(**others: object) -> Recommender:
    fields: dict[str, object] = {
        "user": (
            Categorical(name="user_id", width=4),
            Numeric(name="age", width=4),
            History(name="liked", of="item_id", length=5, where="rating >= 4", width=4),
        ),
        "item": (Categorical(name="item_id", width=4),),
        "tasks": (
            Binary(name="like", label="rating >= 4", tower=(4,)),
            Regression(name="stars", label="rating", tower=(4,)),
            Retrieval(name="met", label="true", negatives=16, width=8, tower=()),
        ),
        "network": MMoE(experts=2, hidden=(8,)),
        "training": Training(epochs=3, batch_size=256, learning_rate=0.01),
    }
    return Recommender.model_validate(fields | others)


@pytest.fixture(scope="module")
def fitted(world: pl.DataFrame) -> Fitted:
    return declare().fit(world.head(3000), progress=False)


@pytest.mark.parametrize(("user", "row"), [(101, 3), (150, 20), (-7, 41)])
def test_contributions_sum_up_to_the_difference(fitted: Fitted, user: int, row: int):
    catalogue = fitted.catalogue
    attributions = attribute(fitted, catalogue.vectors({"user_id": user}, row), catalogue.baseline(row))
    assert list(attributions) == ["like", "stars", "met"]
    predicted = catalogue.predict({"user_id": user}, torch.tensor([row]))
    for task, attribution in attributions.items():
        assert attribution.prediction == pytest.approx(float(predicted[task]), abs=1e-5)
        assert attribution.gap <= SMALL_GAP
        assert set(attribution.contributions) == {"user_id", "age", "liked", "item_id"}
        sizes = [abs(part) for part in attribution.contributions.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_a_row_of_which_nothing_is_known_has_nothing_to_attribute(fitted: Fitted):
    baseline = fitted.catalogue.baseline(0)
    for attribution in attribute(fitted, baseline, baseline).values():
        assert attribution.prediction == attribution.baseline
        assert set(attribution.contributions.values()) == {0.0}
        assert attribution.gap == 0.0


def test_of_a_linear_model_contributions_are_weights_times_differences(world: pl.DataFrame):
    spec = declare(
        user=(Categorical(name="user_id", width=4), Numeric(name="age", width=4)),
        tasks=(Regression(name="stars", label="rating", tower=()),),
        network=SharedBottom(hidden=()),
    )
    fitted = spec.fit(world.head(1000), progress=False)
    x, baseline = fitted.catalogue.vectors({"user_id": 101}, 5), fitted.catalogue.baseline(5)
    (attribution,) = attribute(fitted, x, baseline).values()
    weight = torch.autograd.functional.jacobian(lambda x: fitted.model.decode(x)["stars"].sum(), x)[0]
    scale = (attribution.prediction - attribution.baseline) / float(((x - baseline)[0] * weight).sum())
    for name, part in attribution.contributions.items():
        columns = fitted.model.columns([name])
        assert part == pytest.approx(scale * float(((x - baseline)[0] * weight)[columns].sum()), rel=1e-3, abs=1e-6)


def test_a_feature_that_matters_contributes_most(world: pl.DataFrame):
    generator = np.random.default_rng(0)
    age = generator.normal(size=3000)
    rows = world.head(3000).with_columns(age=pl.Series(age), rating=pl.Series(3 + age))
    spec = declare(tasks=(Regression(name="stars", label="rating", tower=(4,)),), user=declare().user[:2])
    fitted = spec.fit(rows, progress=False)
    given = {"user_id": None, "age": 2.0}
    attribution = attribute(fitted, fitted.catalogue.vectors(given, 5), fitted.catalogue.baseline(5))["stars"]
    assert next(iter(attribution.contributions)) == "age"
    assert attribution.contributions["age"] > 1
