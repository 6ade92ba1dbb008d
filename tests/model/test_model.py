"""The assembled model: what each task may see, histories held against the row's item, and graphs of training rows."""

import polars as pl
import pytest
import torch
from pydantic import ValidationError

from polyrec import (
    DIN,
    STEM,
    Binary,
    Categorical,
    Fitted,
    FixedWeights,
    History,
    HoME,
    LightGCN,
    MMoE,
    Numeric,
    Recommender,
    Regression,
    Retrieval,
    Training,
)
from polyrec.model.encoders import Encoders
from polyrec.predict.rows import prepare_rows

TRAINING = Training(epochs=2, batch_size=200, learning_rate=0.01)


def declaration(**changes: object) -> Recommender:
    parts = {
        "user": (Categorical(name="user_id", width=4), Numeric(name="age", width=4)),
        "item": (Categorical(name="item_id", width=4),),
        "tasks": (Binary(name="like", label="rating >= 4", tower=(4,)), Regression(name="stars", label="rating", tower=(4,))),
        "network": MMoE(experts=2, hidden=(6,)),
        "training": TRAINING,
    }
    return Recommender(**parts | changes)


@pytest.fixture(scope="module")
def rows(world: pl.DataFrame) -> pl.DataFrame:
    return world.head(1200)


def raw(fitted: Fitted, rows: pl.DataFrame) -> dict[str, torch.Tensor]:
    return fitted.raw_tensors(rows)


class TestViews:
    def test_of_user_and_item_are_blind_to_one_another(self, rows: pl.DataFrame):
        met = Retrieval(name="met", label="rating >= 3", negatives=8, width=5)
        fitted = declaration(tasks=(met, *declaration().tasks)).fit(rows, progress=False)
        before = raw(fitted, rows)["met"]
        others = rows.with_columns(pl.col("item_id").reverse())
        after = raw(fitted, others)["met"]
        torch.testing.assert_close(before[:, :5], after[:, :5])
        assert not torch.allclose(before[:, 5:], after[:, 5:])
        others = rows.with_columns(pl.col("user_id").reverse(), pl.col("age").reverse())
        torch.testing.assert_close(before[:, 5:], raw(fitted, others)["met"][:, 5:])

    def test_that_would_be_empty_are_refused(self):
        with pytest.raises(ValidationError, match="'met' sees no feature: of the item"):
            Recommender(
                user=declaration().user,
                tasks=(Retrieval(name="met", label="rating >= 3", negatives=0),),
                network=MMoE(experts=2),
            )

    def test_draw_negatives_from_items_with_a_key(self):
        with pytest.raises(ValidationError, match="'met' draws items as negatives, but `item` has no key"):
            declaration(item=(Numeric(name="rating"),), tasks=(Retrieval(name="met", label="user_id > 0"),))


class TestTargetAttention:
    def test_reads_the_history_for_the_item_at_hand(self, rows: pl.DataFrame):
        history = History(name="met", of="item_id", length=4, width=4, pooling=DIN())
        spec = declaration(user=(*declaration().user, history))
        fitted = spec.fit(rows, progress=False)
        copy = fitted.model.copies[0]
        assert isinstance(copy, Encoders)
        data = prepare_rows(fitted.catalogue, rows[1000:])
        batch = data.batch(torch.arange(100))
        start = sum(list(copy.fields.values())[: list(copy.fields).index("met")])
        vectors = []
        for shift in (0, 1):
            items = batch.inputs["item_id"]
            assert isinstance(items, torch.Tensor)
            batch.inputs["item_id"] = items.roll(shift)
            vectors.append(copy(batch)[:, start : start + 4])
        assert not torch.allclose(*vectors)

    def test_is_refused_for_a_task_that_may_not_see_the_item(self):
        history = History(name="met", of="item_id", pooling=DIN())
        blind = Binary(name="like", label="rating >= 4", inputs="user")
        with pytest.raises(ValidationError, match="'like' sees the history 'met' but not 'item_id'"):
            declaration(user=(*declaration().user, history), tasks=(blind,))

    def test_ranks_the_catalogue_as_it_scores_rows(self, rows: pl.DataFrame):
        history = History(name="met", of="item_id", length=4, width=4, pooling=DIN())
        fitted = declaration(user=(*declaration().user, history)).fit(rows, progress=False)
        shown = fitted.recommend(user_id=105, k=5, exclude_seen=False)
        scores = fitted.score(105, shown["item_id"])
        assert shown["score"].to_list() == pytest.approx(scores.tolist(), abs=1e-6)
        now = pl.DataFrame({"user_id": [105] * 5, "item_id": shown["item_id"], "age": [25.0] * 5, "timestamp": [10**6] * 5})
        assert fitted.predict(now)["score"].to_list() == pytest.approx(scores.tolist(), abs=1e-5)


class TestGraph:
    @pytest.fixture
    def spec(self) -> Recommender:
        return declaration(
            user=(*declaration().user, LightGCN(name="near", of="user_id", to="item_id", width=4)),
            item=(*declaration().item, LightGCN(name="around", of="item_id", to="user_id", width=4, layers=1)),
        )

    def test_holds_the_training_rows_and_no_others(self, spec: Recommender, rows: pl.DataFrame):
        train, held = rows[:900], rows[900:]
        fitted = spec.fit(train, validation=held, progress=False)
        ids = fitted.parts.feature_states["user_id"]
        assert len(ids)
        for name in ("near", "around"):
            edges = fitted.parts.feature_states[name]
            assert edges.height == train.select("user_id", "item_id").unique().height
            assert edges.height < rows.select("user_id", "item_id").unique().height

    def test_answers_alike_whether_remembered_or_not(self, spec: Recommender, rows: pl.DataFrame):
        fitted = spec.fit(rows, progress=False)
        remembered = raw(fitted, rows)["stars"]
        fitted.model.train().eval()
        assert torch.equal(remembered, raw(fitted, rows)["stars"])
        with torch.no_grad():
            fitted.model.tables()[0].weight.mul_(2.0)
        fitted.model.eval()
        assert not torch.allclose(remembered, raw(fitted, rows)["stars"])

    def test_has_its_tables_updated_whole(self, spec: Recommender, rows: pl.DataFrame):
        fitted = spec.fit(rows, training=TRAINING.replace(tables="rows"), progress=False)
        assert len(fitted.model.tables()) == 1
        assert fitted.model.tables_by_rows() == []
        dense = spec.fit(rows, training=TRAINING.replace(tables="dense"), progress=False)
        torch.testing.assert_close(raw(fitted, rows), raw(dense, rows))

    def test_is_saved_and_loaded(self, spec: Recommender, rows: pl.DataFrame, tmp_path):
        fitted = spec.fit(rows, progress=False)
        fitted.save(tmp_path / "artifact")
        assert Fitted.load(tmp_path / "artifact").predict(rows).equals(fitted.predict(rows))

    @pytest.mark.parametrize(
        ("graph", "message"),
        [
            (LightGCN(name="g", of="user", to="item_id", width=4), "'user' as a Categorical.*'user_id'"),
            (LightGCN(name="g", of="user_id", to="age", width=4), "'age' as a Categorical"),
            (LightGCN(name="g", of="user_id", to="item_id", width=5), "width 5 and 'user_id' width 4"),
            (LightGCN(name="g", of="item_id", to="user_id", width=4), "belongs on the side of 'item_id'"),
        ],
    )
    def test_that_cannot_be_drawn_is_refused(self, graph: LightGCN, message: str):
        with pytest.raises(ValidationError, match=message):
            declaration(user=(*declaration().user, graph))


def test_a_network_may_read_several_copies_of_the_tables(rows: pl.DataFrame):
    fitted = declaration(network=STEM(hidden=(6,))).fit(rows, progress=False)
    assert len(fitted.model.copies) == 3
    tables = [table.weight for table in fitted.model.tables()]
    assert len(tables) == 3
    assert not torch.allclose(tables[0], tables[1])


class TestAlone:
    def test_is_the_task_with_all_that_is_its_own(self):
        training = TRAINING.replace(utility={"like.auc": 1.0, "stars.rmse": -1.0})
        spec = declaration(training=training, network=HoME(groups=(("like",), ("stars",)), hidden=(6,)))
        alone = spec.alone("stars")
        assert alone.tasks == (spec.tasks[1],)
        assert alone.training.utility == {"stars.rmse": -1.0}
        assert alone.network == HoME(groups=(("stars",),), hidden=(6,))

    def test_comes_after_nothing(self, rows: pl.DataFrame):
        later = Binary(name="top", label="rating >= 5", after="like", tower=(4,))
        spec = declaration(tasks=(*declaration().tasks, later), balancing=FixedWeights(weights={"like": 2.0}))
        assert spec.alone("top").tasks[0].after is None
        assert "auc" in spec.alone("top").fit(rows, progress=False).evaluate(rows).tasks["top"]
