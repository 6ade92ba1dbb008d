"""An exported model returns the outputs of the fitted one, in ONNX Runtime and as a torch program."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch

from polyrec import (
    DIN,
    MLP,
    PLE,
    RNN,
    STEM,
    Binary,
    Categorical,
    Concat,
    DCNv2,
    Fitted,
    Formula,
    History,
    HoME,
    Isotonic,
    Joint,
    LightGCN,
    MMoE,
    MultiCategorical,
    Multiclass,
    Multiply,
    Numeric,
    Ordinal,
    Personal,
    Piecewise,
    Platt,
    Product,
    Quantile,
    Rank,
    Recommender,
    Recurrent,
    Regression,
    Retrieval,
    SASRec,
    SharedBottom,
    Training,
    UserError,
)

USER = (Categorical(name="user_id", width=4), Numeric(name="age", width=4))
ITEM = (Categorical(name="item_id", width=4),)
GENRES = MultiCategorical(name="genres", width=4)
LIKED = History(name="liked", of="item_id", length=5, where="rating >= 4", width=4)
LIKE, STARS = Binary(name="like", label="rating >= 4", tower=(4,)), Regression(name="stars", label="rating", tower=(4,))

DECLARATIONS = {
    "bags, histories of bags, a product": {
        "user": (*USER, LIKED, LIKED.replace(name="tastes", of="genres")),
        "item": (
            *ITEM,
            MultiCategorical(name="genres", width=4),
            MultiCategorical(name="kinds", column="genres", pooling="sum"),
        ),
        "network": MMoE(experts=2, hidden=(8,), products=True),
        "fusion": Multiply(powers={"like": 1.0, "stars": 0.5}),
    },
    "attention, a history seen from the item, levels": {
        "user": (*USER, LIKED.replace(pooling=SASRec(dropout=0.0)), LIKED.replace(name="aimed", pooling=DIN())),
        "network": PLE(hidden=(8,), trunk=MLP(hidden=(8,))),
        "calibration": {"like": Platt()},
        "fusion": Formula(expression="clip(like, 0.1, 1) ** 2 * log1p(stars) + w * sigmoid(-stars)", weights={"w": 0.5}),
    },
    "graphs, bins, a recurrent trunk, steps of a map": {
        "user": (
            *USER,
            LightGCN(name="near", of="user_id", to="item_id", width=4),
            Piecewise(name="old", column="age", width=4),
        ),
        "network": SharedBottom(hidden=(8,), trunk=RNN()),
        "calibration": {"like": Isotonic()},
    },
    "copies of tables, views, links, several outputs": {
        "user": USER,
        "network": STEM(hidden=(8,), trunk=DCNv2()),
        "tasks": (
            LIKE,
            Binary(name="love", label="rating >= 5", tower=(4,), after=Product(tasks=("like",))),
            Ordinal(name="grade", label="rating", tower=(4,)),
            Quantile(name="range", label="rating", tower=(4,)),
            Multiclass(name="class", label="rating", tower=(4,), inputs="item"),
            Retrieval(name="met", label="rating >= 4", negatives=0, width=4, tower=(4,)),
        ),
    },
    "a head over predictions": {
        "user": USER,
        "network": SharedBottom(hidden=(8,)),
        "calibration": {"like": Platt()},
        "fusion": Concat(target={"like": 1.0, "stars": 0.5}, tower=(6, 3)),
    },
    "a head over hidden states, of views and several outputs": {
        "user": (*USER, LIKED),
        "tasks": (
            LIKE,
            STARS,
            Quantile(name="range", label="rating", tower=(4,)),
            Retrieval(name="met", label="rating >= 4", negatives=0, width=4, tower=(4,)),
        ),
        "fusion": Concat(target={"like": 1.0}, states="all"),
    },
    "weights by user": {
        "user": (*USER, LIKED),
        "network": STEM(hidden=(8,)),
        "fusion": Personal(of=Multiply(powers={"like": 1.0, "stars": 0.5}), by=("age", "liked"), tower=(4,)),
    },
    "no users, and no score": {
        "item": (),
        "features": (Numeric(name="age", width=4), Categorical(name="item_id", width=4)),
        "network": HoME(hidden=(8,)),
        "tasks": (Quantile(name="range", label="rating", tower=(4,)),),
    },
}


def declare(**others: object) -> Recommender:
    defaults = {"item": ITEM, "tasks": (LIKE, STARS), "network": MMoE(experts=2, hidden=(8,))}
    return Recommender(**(defaults | {"training": Training(epochs=8, batch_size=128, learning_rate=0.02)} | others))


QUICK = ("bags, histories of bags, a product", "a head over predictions")
"""Declarations that the quick run exports, too."""


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in DECLARATIONS]
)
def trained(request: pytest.FixtureRequest, world: pl.DataFrame) -> Fitted:
    return declare(**DECLARATIONS[request.param]).fit(world.head(1000), progress=False)


def run(path: Path, form: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run an exported model as somebody without polyrec would."""
    if form == "torch":
        with path.open("rb") as file:
            program = torch.export.load(file).module()
        return {name: value.numpy() for name, value in program({n: torch.from_numpy(v) for n, v in inputs.items()}).items()}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_says_what_the_fitted_one_says_in_the_same_order(trained: Fitted, world: pl.DataFrame, tmp_path: Path, form: str):
    path = trained.export(tmp_path / "model", form)
    description = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert description["format"] == form
    assert description["spec_sha256"] == hashlib.sha256(trained.spec.to_yaml().encode()).hexdigest()
    for rows in (world[1000:1200], world[1200:1201]):
        inputs, expected = trained.encode(rows), trained.predict_tensors(rows)
        outputs = run(path, form, inputs)
        assert [*inputs] == [port["name"] for port in description["inputs"]]
        assert [*outputs] == [port["name"] for port in description["outputs"]]
        for port, value in zip(
            description["inputs"] + description["outputs"], [*inputs.values(), *outputs.values()], strict=True
        ):
            assert port["dtype"] == str(value.dtype)
            assert len(port["shape"]) == value.ndim
            assert all(isinstance(free, str) or free == size for free, size in zip(port["shape"], value.shape, strict=True))
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value.numpy(), rtol=1e-5, atol=1e-5)
        assert ("score" in outputs) == any(task.is_scalar for task in trained.spec.tasks)
        if "score" in outputs:
            score = trained.predict(rows)["score"].to_numpy()
            np.testing.assert_allclose(outputs["score"], score, rtol=1e-5, atol=1e-5)
            assert (np.diff(score[outputs["score"].argsort()]) > -1e-6).all(), (
                "sorted, except for scores that are equal up to rounding"
            )
            is_apart = np.abs(np.diff(np.sort(score))).min() > 1e-6 if len(score) > 1 else True
            assert not is_apart or outputs["score"].argsort().tolist() == score.argsort().tolist()


class TestInputs:
    def test_are_numbers_filled_up_rows_and_padded_histories(self, world: pl.DataFrame):
        user = (*USER, LIKED, LIKED.replace(name="tastes", of="genres", length=3))
        fitted = declare(user=user, item=(*ITEM, GENRES)).fit(world.head(500), progress=False)
        inputs = fitted.encode(world[500:540])
        shapes = {name: value.shape for name, value in inputs.items()}
        assert shapes["user_id"] == (40,)
        assert shapes["age"] == (40, 2)
        assert shapes["liked"] == shapes["liked.mask"] == (40, 5)
        assert shapes["tastes"] == (40, 3, 2)
        numbers = dict(zip(fitted.parts.feature_states["genres"]["value"], range(1, 4), strict=False))
        expected = [sorted(numbers[genre] for genre in genres) for genres in world[500:540]["genres"]]
        assert [sorted(number for number in row if number >= 0) for row in inputs["genres"].tolist()] == expected
        for row, mask in zip(inputs["tastes"].tolist(), inputs["tastes.mask"].tolist(), strict=True):
            assert mask == sorted(mask), "padded at the front"
            assert all(any(number > 0 for number in element) == real for element, real in zip(row, mask, strict=True))


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_new_items_are_lifted(world: pl.DataFrame, tmp_path: Path, form: str):
    retrieval = Retrieval(name="met", label="rating >= 4", negatives=0, width=4, tower=(4,), new_items=0.2)
    fitted = declare(user=USER, tasks=(LIKE, retrieval)).fit(world.head(500), progress=False)
    rows = world[500:540].with_columns(item_id=pl.when(pl.int_range(pl.len()) % 3 == 0).then(-1).otherwise("item_id"))
    inputs = fitted.encode(rows)
    known = world.head(500)["item_id"].implode()
    assert inputs["item.new"].tolist() == (~rows["item_id"].is_in(known)).to_list()
    outputs = run(fitted.export(tmp_path / "model", form), form, inputs)
    for name, value in fitted.predict_tensors(rows).items():
        np.testing.assert_allclose(outputs[name], value.numpy(), rtol=1e-5, atol=1e-5)
    level = run(tmp_path / "model", form, inputs | {"item.new": np.zeros(40, bool)})
    lift = outputs["met"] - level["met"]
    np.testing.assert_allclose(lift[inputs["item.new"]], 0.1, atol=1e-5)  # the prediction is (1 + cosine) / 2
    np.testing.assert_array_equal(lift[~inputs["item.new"]], 0)


class TestRefusals:
    def test_name_a_feature_that_cannot_be_exported(self, world: pl.DataFrame, tmp_path: Path):
        fitted = declare(user=(*USER, LIKED.replace(pooling=Recurrent()))).fit(world.head(500), progress=False)
        with pytest.raises(UserError, match="the feature 'liked': .* found the pooling Recurrent"):
            fitted.export(tmp_path / "model")
        assert [*tmp_path.iterdir()] == []
        with pytest.raises(UserError, match="exported model of the feature 'liked': .* found the pooling Recurrent"):
            fitted.encode(world.head(5))

    def test_name_the_history_of_a_joint_before_its_inputs_are_made(self, world: pl.DataFrame):
        joint = Joint(name="thing", id="item_id", content="price", width=4)
        item = (Categorical(name="item_id", width=4), Numeric(name="price", column="age", width=4), joint)
        liked = History(name="liked", of="thing", width=4)
        fitted = declare(user=(*USER, liked), item=item).fit(world.head(500), progress=False)
        with pytest.raises(UserError, match="the feature 'liked': .* found the joint 'thing'"):
            fitted.encode(world.head(5))

    def test_name_a_fusion_that_compares_rows(self, fitted: Fitted, tmp_path: Path):
        ranked = Fitted(replace(fitted.parts, spec=fitted.spec.replace(fusion=Rank())), fitted.model)
        with pytest.raises(UserError, match="the fusion Rank: expected a score of each row alone"):
            ranked.export(tmp_path / "model")

    def test_name_a_format_that_there_is_not(self, fitted: Fitted, tmp_path: Path):
        with pytest.raises(UserError, match="expected 'onnx' or 'torch', found 'onx'. Did you mean 'onnx'"):
            fitted.export(tmp_path / "model", format="onx")

    def test_name_the_extra_where_a_package_is_missing(self, fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(ImportError, match=r"pip install 'polyrec\[export\]'"):
            fitted.export(tmp_path / "model.onnx")
        assert not (tmp_path / "model.onnx").exists()
