"""Joint: an id and its content as one vector, in rows and in histories.

Shape letters: N elements, J width of the id, C width of the content.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

import polyrec
from polyrec import Binary, Categorical, Fitted, History, Joint, Recommender, Retrieval, SharedBottom, TfIdf, Training, Vector
from polyrec.core.batch import Batch, Padded, Pair
from polyrec.features.feature import Feature
from polyrec.features.joint import By, JointEncoder
from polyrec.features.text import Text
from polyrec.model.encoders import Encoders
from polyrec.poolings.din import DIN

BY: list[By] = ["sum", "gate", "concat"]
ID, CONTENT = Categorical(name="item_id", width=4), Vector(name="image", width=4)
FRAME = pl.DataFrame({"item_id": ["a", "b", "c"], "image": [[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]})


def encoders(*features: Feature) -> Encoders:
    torch.manual_seed(0)
    states = {own.name: own.fit(FRAME) for own in (ID, CONTENT)}
    return Encoders((ID, CONTENT, *features), states).eval()


def batch(numbers: list[int], image: torch.Tensor) -> Batch:
    return Batch({"item_id": torch.tensor(numbers, dtype=torch.int32), "image": image}, {}, {}, len(numbers))


IMAGE = torch.tensor([[0.5, -1.0, 0.0], [1.5, 0.3, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("by", BY)
def test_an_unseen_id_is_its_content_alone(by: By):
    model = encoders(Joint(name="film", id="item_id", content="image", by=by, width=4))
    table = model.shared["ids/4"].table
    before = model(batch([0, 0, 0], IMAGE))
    seen = model(batch([1, 2, 3], IMAGE))
    with torch.no_grad():
        table.weight[0] += 100.0
    assert torch.equal(model(batch([0, 0, 0], IMAGE)), before)
    assert not torch.allclose(seen, before)
    if by != "concat":
        torch.testing.assert_close(before, model.encoders["image"](IMAGE))


def test_a_sum_is_of_the_id_and_the_content():
    model = encoders(Joint(name="film", id="item_id", content="image", width=4))
    found = model(batch([1, 0, 3], IMAGE))
    expected = model.encoders["image"](IMAGE)
    expected[[0, 2]] += model.shared["ids/4"].table.weight[[1, 3]]
    torch.testing.assert_close(found, expected)


def test_a_gate_lies_between_the_id_and_the_content():
    encoder = JointEncoder(Joint(name="film", id="item_id", content="image", by="gate", width=3), 3, 3)
    id_NJ, content_NC = torch.randn(50, 3), torch.randn(50, 3)
    found = encoder.join(id_NJ, torch.ones(50, dtype=torch.bool), content_NC)
    low, high = torch.minimum(id_NJ, content_NC), torch.maximum(id_NJ, content_NC)
    assert ((found >= low) & (found <= high)).all()


def test_the_parts_are_laid_out_as_the_joint_alone():
    model = encoders(Joint(name="film", id="item_id", content="image", width=6))
    assert model.fields == {"film": 6}
    assert model(batch([1, 2, 3], IMAGE)).shape == (3, 6)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("pooling", ["Mean", DIN()])
def test_a_history_reads_elements_as_candidates_are_read(by: By, pooling: object):
    joint = Joint(name="film", id="item_id", content="image", by=by, width=4)
    model = encoders(joint, History(name="met", of="film", length=2, width=4, pooling=pooling))
    alone = batch([1, 2, 3], IMAGE)
    mask = torch.tensor([[True], [True], [False]])
    past = Padded(Pair(alone.inputs["item_id"], alone.inputs["image"]), mask)
    found = model(Batch({**alone.inputs, "met": past}, {}, {}, 3))
    film, met = found[:, :4], found[:, 4:]
    if pooling == "Mean":
        torch.testing.assert_close(met[:2], film[:2])
    assert torch.equal(met[2], torch.zeros(4)) or isinstance(pooling, DIN)
    pieces = Batch({**alone.inputs, "met": past}, {}, {}, 3).split(2)
    torch.testing.assert_close(torch.cat([model(piece) for piece in pieces]), found)


def test_id_dropout_leaves_the_content():
    joint = Joint(name="film", id="item_id", content="image", width=4)
    states = {own.name: own.fit(FRAME) for own in (ID, CONTENT)}
    torch.manual_seed(0)
    model = Encoders((ID.replace(id_dropout=0.5), CONTENT, joint), states).train()
    with torch.no_grad():
        model.shared["ids/4"].table.weight.fill_(7.0)
    content = model.encoders["image"](IMAGE[:1].expand(400, 3))
    extra = (model(batch([1] * 400, IMAGE[:1].expand(400, 3))) - content)[:, 0]
    assert set(extra.round().tolist()) == {0.0, 7.0}
    assert 0.4 < float((extra.round() == 0).float().mean()) < 0.6


def test_contents_stand_alone_in_a_share_of_the_batches():
    joint = Joint(name="film", id="item_id", content="image", width=4, alone=0.25)
    model = encoders(joint, History(name="met", of="film", length=1, width=4))
    rows = batch([1, 2, 3], IMAGE)
    rows = Batch({**rows.inputs, "met": Padded(Pair(*rows.inputs.values()), torch.ones(3, 1, dtype=torch.bool))}, {}, {}, 3)
    whole, content = model(rows), model.encoders["image"](IMAGE)
    torch.manual_seed(0)
    model.train()
    alone = 0
    for _ in range(200):
        found = model(rows)
        is_alone = torch.equal(found[:, :4], content)
        alone += is_alone
        torch.testing.assert_close(found, torch.cat([content, content], 1) if is_alone else whole)
    assert 30 < alone < 70


def declaration(**changes: object) -> Recommender:
    fields: dict[str, object] = {
        "user": (Categorical(name="user_id", width=8), History(name="met", of="film", length=5, width=8)),
        "item": (
            Categorical(name="item_id", width=8, id_dropout=0.3),
            Text(name="title", encoder=TfIdf(components=8, minimum_count=1), width=8),
            Joint(name="film", id="item_id", content="title", by="gate", width=8),
        ),
        "tasks": (
            Retrieval(name="next", label="rating IS NOT NULL", inputs=("met", "film"), tower=(), width=8, negatives=16),
            Binary(name="like", label="rating >= 4", tower=(8,)),
        ),
        "network": SharedBottom(hidden=(16,)),
        "training": Training(epochs=3, batch_size=200, learning_rate=0.01),
    }
    return Recommender.model_validate(fields | changes)


@pytest.fixture(scope="module")
def titled(world: pl.DataFrame) -> pl.DataFrame:
    words = np.array(["red", "green", "blue", "old", "new"])
    item = world["item_id"].to_numpy()
    return world.with_columns(title=pl.Series(words[item % 5]) + " " + words[item % 3] + " film")


@pytest.fixture(scope="module")
def fitted(titled: pl.DataFrame) -> Fitted:
    known = titled.filter(pl.col("item_id") < 300)
    return declaration().fit(
        polyrec.Tables(known.drop("title"), items=titled.select("item_id", "title").unique()), progress=False
    )


def test_learns_and_is_the_same_after_saving(fitted: Fitted, titled: pl.DataFrame, tmp_path: Path):
    assert fitted.curves[-1]["like.auc"] > 0.6
    again = polyrec.load(fitted.save(tmp_path / "artifact"))
    rows = titled.head(50)
    assert again.predict(rows).equals(fitted.predict(rows))
    assert again.recommend(user_id=101).equals(fitted.recommend(user_id=101))


def test_items_never_met_are_ranked_by_their_content(fitted: Fitted, titled: pl.DataFrame):
    """Two items that no training row holds and that have one title have one score, and it depends on the title."""
    new = titled.filter(pl.col("item_id") >= 300).unique("item_id").sort("item_id").select("item_id", "title")
    scores = dict(zip(new["item_id"], fitted.score(101, new["item_id"]), strict=True))
    by_title = new.group_by("title").agg("item_id").filter(pl.col("item_id").list.len() > 1)
    assert new.height > new["title"].n_unique() > 1
    for items in by_title["item_id"]:
        np.testing.assert_allclose([scores[item] for item in items], scores[items[0]], rtol=1e-6)
    assert len({round(float(own), 5) for own in scores.values()}) == new["title"].n_unique()


def test_scores_of_a_request_equal_predictions_of_rows(fitted: Fitted):
    ranked = fitted.recommend(user_id=120, k=5, exclude_seen=False)
    np.testing.assert_allclose(fitted.score(120, ranked["item_id"]), ranked["score"].to_numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "titel"}, "needs 'titel' as a Categorical of the same side. .*item_id"),
        ({"id": "user_id"}, "needs 'user_id' as a Categorical of the same side"),
        ({"content": "met"}, "needs 'met' as content of the same side.*title"),
        ({"content": "tittle"}, "needs 'tittle' as content.*title"),
        ({"content": "item_id"}, "`id` and `content` are both"),
    ],
)
def test_parts_that_cannot_serve_are_refused(changes: dict[str, str], message: str):
    item = declaration().item
    joint = {"kind": "Joint", **item[2].model_dump(), **changes}
    with pytest.raises(ValidationError, match=message):
        declaration(item=(*item[:2], joint))


def test_a_task_names_the_joint_and_not_its_parts():
    with pytest.raises(ValidationError, match="input 'title', which is part of the joint 'film'"):
        declaration(tasks=(Binary(name="like", label="rating >= 4", inputs=("title", "met")),))


def test_a_label_in_the_content_is_seen_through_the_joint():
    with pytest.raises(ValidationError, match="column 'title', which the label"):
        declaration(tasks=(Binary(name="red", label="title = 'red red film'", inputs=("film", "met")),))


def test_a_feature_is_part_of_one_joint():
    item = declaration().item
    with pytest.raises(ValidationError, match="is part of joint 'film' and of 'again'"):
        declaration(item=(*item, item[2].replace(name="again")))
