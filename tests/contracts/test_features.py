"""What every feature keeps. Shape letters: B rows, L length of a history, K width of its elements.

Columns of several types are offered; a feature reads the first of them that it accepts. Derived features have no column: each
is fitted within a small recommender, on the first side that accepts it. Histories also keep the laws of pooling.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from torch import Tensor

from polyrec import Binary, Categorical, Fitted, Numeric, Recommender, SharedBottom, Training, UserError, Vector
from polyrec.core.batch import Column
from polyrec.core.files import read_parquet, write_parquet
from polyrec.features.derived import Derived
from polyrec.features.feature import Encoder, Feature, State
from polyrec.features.history import History
from polyrec.poolings.din import DIN
from polyrec.poolings.mean import Mean
from polyrec.predict.rows import prepare_rows

ROWS = 24

COLUMNS = {
    "strings": (pl.Series(["red|blue", "red", "a green field", None]), pl.Series(["violet", "", "red|violet", "red"])),
    "integers": (pl.Series([3, 1, 7, None]), pl.Series([-40, 10**6, 0, 3])),
    "floats": (pl.Series([0.5, -1.5, 2.25, None]), pl.Series([-40.0, 1e6, 0.0, 0.5])),
    "lists of strings": (pl.Series([["a", "b"], ["c"], [], None]), pl.Series([["z"], ["a", "z"], ["y", "x"], [None]])),
    "lists of floats": (pl.Series([[0.5, 1.0], [2.0, 1.0], [-1.0, 1.0], None]), pl.Series([[9.0, 9.0], [0.0, 1e4]] * 2)),
}
"""By type: values to learn from, null among them, and values that training never saw."""

ODD = {
    "structs": pl.Series([{"a": 1}, {"a": 2}]),
    "lists of lists": pl.Series([[[1.0]], [[2.0]]]),
    "dates": pl.Series([date(2024, 1, 1), date(2024, 1, 2)]),
    "bytes": pl.Series([b"a", b"b"]),
    "nothing but null": pl.Series([None, None]),
    **{name: known for name, (known, _) in COLUMNS.items()},
}


@dataclass(frozen=True)
class Reading:
    """A feature with a table that it accepts, one of values never seen, and what it learned from the first."""

    feature: Feature
    table: pl.DataFrame
    unseen: pl.DataFrame
    state: State
    encoder: Encoder

    def vectors(self, table: pl.DataFrame, rows: list[int] | None = None) -> Tensor:
        """Return what the shared network sees of some rows, (B, width)."""
        return self.taken(self.feature.encode(table, self.state), list(range(len(table))) if rows is None else rows)

    def taken(self, column: Column, rows: list[int]) -> Tensor:
        with torch.no_grad():
            return self.encoder(column.take(torch.tensor(rows, dtype=torch.int64)))


@pytest.fixture(scope="module")
def reading(feature: Feature) -> Reading:
    for known, unseen in COLUMNS.values():
        table = _table(feature, known.gather([row * row % len(known) for row in range(ROWS - 1)] + [2]))
        try:
            state = feature.fit(table)
        except UserError:
            continue
        torch.manual_seed(0)
        encoder = feature.build(state)
        return Reading(feature, table, _table(feature, unseen), state, encoder.eval())
    pytest.fail(f"{feature!r} accepts none of the columns: {', '.join(COLUMNS)}")


def _table(feature: Feature, values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame(dict.fromkeys(feature.columns, values))


def _refusal(feature: Feature, table: pl.DataFrame) -> str | None:
    try:
        feature.encode(table, feature.fit(table))
    except UserError as error:
        return str(error)
    return None


rows_of_the_table = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=2 * ROWS)


class TestColumn:
    @pytest.mark.parametrize("values", ODD.values(), ids=ODD)
    def test_of_any_type_is_accepted_or_refused_by_name(self, feature: Feature, values: pl.Series):
        refusal = _refusal(feature, _table(feature, values))
        assert refusal is None or repr(feature.name) in refusal

    def test_is_named_by_the_feature(self, feature: Feature):
        assert feature.columns
        assert len(set(feature.columns)) == len(feature.columns)

    def test_in_another_order_teaches_the_same(self, reading: Reading):
        assert_frame_equal(reading.feature.fit(reading.table.reverse()), reading.state, abs_tol=1e-6)

    def test_beside_others_is_the_only_one_read(self, reading: Reading):
        wider = reading.table.with_columns(label_of_the_row=pl.int_range(pl.len()))
        assert_frame_equal(reading.feature.fit(wider), reading.state)
        torch.testing.assert_close(reading.vectors(wider), reading.vectors(reading.table))


class TestVectors:
    def test_are_of_the_width_declared_and_finite(self, reading: Reading):
        vectors = reading.vectors(reading.table)
        assert vectors.shape == (ROWS, reading.feature.width)
        assert vectors.dtype == torch.float32
        assert torch.isfinite(vectors).all()

    def test_tell_values_apart(self, reading: Reading):
        vectors = reading.vectors(_table(reading.feature, reading.table[reading.feature.columns[0]].unique()))
        assert len(torch.unique(vectors, dim=0)) > 1

    def test_of_equal_rows_are_equal(self, reading: Reading):
        values = reading.table[reading.feature.columns[0]]
        row = [0] * 3
        vectors = reading.vectors(_table(reading.feature, values.gather(row)))
        torch.testing.assert_close(vectors, vectors[:1].expand(3, -1))

    def test_of_null_are_finite_and_alike(self, reading: Reading):
        vectors = reading.vectors(reading.table.clear(5))
        assert vectors.shape == (5, reading.feature.width)
        assert torch.isfinite(vectors).all()
        torch.testing.assert_close(vectors, vectors[:1].expand(5, -1))

    def test_of_values_never_seen_are_finite(self, reading: Reading):
        vectors = reading.vectors(reading.unseen)
        assert vectors.shape == (len(reading.unseen), reading.feature.width)
        assert torch.isfinite(vectors).all()

    def test_survive_parquet(self, reading: Reading, tmp_path):
        write_parquet(tmp_path / "state.parquet", reading.state)
        again = read_parquet(tmp_path / "state.parquet")
        assert_frame_equal(again, reading.state, check_exact=True)
        other = reading.feature.build(again).eval()
        other.load_state_dict(reading.encoder.state_dict())
        rows = torch.arange(ROWS)
        with torch.no_grad():
            there, back = (
                encoder(reading.feature.encode(reading.table, state).take(rows))
                for encoder, state in ((reading.encoder, reading.state), (other, again))
            )
        assert torch.equal(there, back)


class TestEncoder:
    def test_learns_with_all_its_parameters(self, reading: Reading):
        encoder = reading.feature.build(reading.state)
        column = reading.feature.encode(reading.table, reading.state)
        encoder(column.take(torch.arange(ROWS))).square().sum().backward()
        still = [name for name, parameter in encoder.named_parameters() if parameter.grad is None or not parameter.grad.any()]
        assert still == []

    def test_repeats_itself_where_it_does_not_train(self, reading: Reading):
        assert torch.equal(reading.vectors(reading.table), reading.vectors(reading.table))


FRAME = pl.DataFrame(
    {
        "user_id": [row % 7 for row in range(ROWS)],
        "item_id": [row * row % 5 for row in range(ROWS)],
        "age": [20.0 + row % 7 for row in range(ROWS)],
        "profile": [[row % 7 / 7, 1.0] for row in range(ROWS)],
        "text": [[row * row % 5 / 5, -1.0, row * row % 5 % 2] for row in range(ROWS)],
        "rating": [1 + row * 3 % 5 for row in range(ROWS)],
        "timestamp": [row // 2 for row in range(ROWS)],
    }
)


def _recommender(derived: Derived, side: str, missing: str | None = None) -> Recommender:
    """Return a recommender with a derived feature on a side, without one of the other features."""
    sides = {
        "user": (Categorical(name="user_id", width=derived.width), Numeric(name="age"), Vector(name="profile")),
        "item": (Categorical(name="item_id", width=derived.width), Vector(name="text")),
        "features": (),
    }
    sides = {name: tuple(feature for feature in features if feature.name != missing) for name, features in sides.items()}
    return Recommender(
        **{**sides, side: (*sides[side], derived)},
        tasks=(Binary(name="like", label="rating >= 4", tower=(4,)),),
        network=SharedBottom(hidden=(6,)),
        training=Training(epochs=1, batch_size=8),
    )


@pytest.fixture(scope="module")
def side(derived: Derived) -> str:
    """The first side on which a recommender accepts a derived feature."""
    errors = []
    for side in ("user", "item", "features"):
        try:
            _recommender(derived, side)
        except ValueError as error:
            errors.append(str(error))
        else:
            return side
    pytest.fail("\n".join(errors))


@pytest.fixture(scope="module")
def fitted(derived: Derived, side: str) -> Fitted:
    return _recommender(derived, side).fit(FRAME, progress=False)


class TestDerived:
    def test_has_no_columns(self, derived: Derived):
        assert derived.columns == ()

    def test_reads_names(self, derived: Derived):
        assert all(isinstance(name, str) for name in derived.reads)
        assert len(set(derived.reads)) == len(derived.reads)
        assert set(derived.reads) >= {*derived.ids, *derived.tables, *derived.replaces}
        assert derived.reads or derived.reads_log

    def test_refuses_an_unknown_feature_by_name(self, derived: Derived, side: str):
        for name in derived.reads:
            with pytest.raises(ValueError, match=repr(name)):
                _recommender(derived, side, missing=name)

    def test_vectors_are_of_the_width_declared_and_of_their_row_alone(self, derived: Derived, fitted: Fitted):
        prepared, model = prepare_rows(fitted.catalogue, FRAME), fitted.catalogue.model
        if derived.name not in model.copies[0].fields:
            return
        with torch.no_grad():
            vectors = model.encode(prepared.batch(torch.arange(ROWS)), [derived.name])
            alone = torch.cat([model.encode(prepared.batch(torch.tensor([row])), [derived.name]) for row in range(ROWS)])
        assert vectors.shape == (ROWS, derived.width)
        assert torch.isfinite(vectors).all()
        torch.testing.assert_close(vectors, alone)

    def test_predicts_for_users_and_items_never_seen(self, fitted: Fitted):
        unseen = FRAME.with_columns(user_id=pl.lit(99), item_id=pl.lit(99))
        assert fitted.predict(unseen)["like"].is_between(0, 1).all()

    def test_survives_save_and_load(self, derived: Derived, fitted: Fitted, tmp_path: Path):
        loaded = Fitted.load(fitted.save(tmp_path / "artifact"))
        assert derived in loaded.spec.all_features
        assert loaded.predict(FRAME).equals(fitted.predict(FRAME))


class _Pooled:
    """Histories of 0 to `length` elements, padded at the front, and what pools them beside each row's own element."""

    def __init__(self, history: History, width: int, length: int = 6) -> None:
        torch.manual_seed(0)
        self.pooling = history.build_derived({history.of: width}, None).eval()
        self.x_BLK = torch.randn(length + 1, length, width)
        self.mask_BL = torch.arange(length, 0, -1) <= torch.arange(length + 1)[:, None]
        self.target_BK = torch.randn(length + 1, width)

    def __call__(self, x_BLK: Tensor, mask_BL: Tensor) -> Tensor:
        return self.pooling.pool(x_BLK, mask_BL, self.target_BK)


@pytest.mark.parametrize("same_width", [True, False])
class TestHistory:
    def test_is_of_the_width_declared_and_finite(self, history: History, same_width: bool):
        pool = _Pooled(history, history.width if same_width else 5)
        pooled = pool(pool.x_BLK, pool.mask_BL)
        assert pooled.shape == (len(pool.x_BLK), history.width)
        assert torch.isfinite(pooled).all()

    def test_does_not_depend_on_how_far_a_batch_is_padded(self, history: History, same_width: bool):
        pool = _Pooled(history, history.width if same_width else 5)
        padding = torch.full((len(pool.x_BLK), 4, pool.x_BLK.shape[2]), 1e3)
        nothing = torch.zeros(len(pool.x_BLK), 4, dtype=torch.bool)
        further = pool(torch.cat([padding, pool.x_BLK], 1), torch.cat([nothing, pool.mask_BL], 1))
        torch.testing.assert_close(further, pool(pool.x_BLK, pool.mask_BL), rtol=1e-5, atol=1e-6)

    def test_does_not_depend_on_what_stands_in_the_padding(self, history: History, same_width: bool):
        pool = _Pooled(history, history.width if same_width else 5)
        other = torch.where(pool.mask_BL[:, :, None], pool.x_BLK, 1e3)
        torch.testing.assert_close(pool(other, pool.mask_BL), pool(pool.x_BLK, pool.mask_BL), rtol=1e-5, atol=1e-6)

    def test_that_is_empty_is_the_same_for_all(self, history: History, same_width: bool):
        pool = _Pooled(history, history.width if same_width else 5)
        nobody = pool(pool.x_BLK, torch.zeros_like(pool.mask_BL))
        torch.testing.assert_close(nobody, nobody[:1].expand_as(nobody))
        torch.testing.assert_close(nobody[0], pool(pool.x_BLK, pool.mask_BL)[0])

    def test_depends_on_each_of_its_elements(self, history: History, same_width: bool):
        pool = _Pooled(history, history.width if same_width else 5)
        x_BLK = pool.x_BLK.requires_grad_()
        pool(x_BLK, pool.mask_BL)[:, 0].sum().backward()
        assert x_BLK.grad is not None
        assert torch.equal(x_BLK.grad.abs().sum(2) > 0, pool.mask_BL)

    def test_of_a_row_depends_on_no_other_row(self, history: History, same_width: bool):
        pool = _Pooled(history, history.width if same_width else 5)
        rows = zip(pool.x_BLK.split(1), pool.mask_BL.split(1), pool.target_BK.split(1), strict=True)
        alone = torch.cat([pool.pooling.pool(*row) for row in rows])
        torch.testing.assert_close(pool(pool.x_BLK, pool.mask_BL), alone, rtol=1e-5, atol=1e-6)


def test_training_can_go_on_with_other_rows(reading: Reading):
    """With its rows of ids found again, what was learned says of every known row what it said before."""
    feature = reading.feature
    state = feature.grow(pl.concat([reading.unseen, reading.table.reverse(), reading.unseen]), reading.state)
    rows = feature.rows_before(state, reading.state)
    encoder = feature.build(state).eval()
    tables = {id(table.weight) for table in encoder.tables()}
    moved = {name for name, tensor in encoder.named_parameters() if id(tensor) in tables} if rows is not None else set()
    encoder.load_state_dict(
        {name: tensor[rows] if name in moved else tensor for name, tensor in reading.encoder.state_dict().items()}
    )
    grown = Reading(feature, reading.table, reading.unseen, state, encoder)
    assert torch.equal(grown.vectors(reading.table), reading.vectors(reading.table))


def test_a_history_is_pooled_by_the_name_of_a_kind():
    assert History(name="h", of="item_id", pooling="DIN").pooling == DIN()
    assert History(name="h", of="item_id").pooling == Mean()


@pytest.mark.parametrize(("name", "sees"), [("DIN", True), ("SASRec", False)])
def test_a_history_tells_whether_it_sees_the_item_that_is_judged(name: str, sees: bool):
    assert History(name="h", of="item_id", pooling=name).sees_target is sees


@settings(max_examples=20)
@given(rows=rows_of_the_table)
def test_vectors_of_rows_taken_are_those_of_a_table_of_these_rows(reading: Reading, rows: list[int]):
    torch.testing.assert_close(reading.vectors(reading.table, rows), reading.vectors(reading.table[rows]), rtol=1e-6, atol=1e-6)


@settings(max_examples=20)
@given(rows=rows_of_the_table)
def test_vectors_of_a_row_depend_on_no_other_row(reading: Reading, rows: list[int]):
    column = reading.feature.encode(reading.table, reading.state)
    alone = torch.cat([reading.taken(column, [row]) for row in rows])
    torch.testing.assert_close(reading.taken(column, rows), alone, rtol=1e-6, atol=1e-6)
