"""Numeric, Categorical, MultiCategorical and Vector at values worked out by hand."""

import numpy as np
import polars as pl
import pytest
import torch

from polyrec import Categorical, MultiCategorical, Numeric, UserError, Vector


def encoded(feature, column: list, training: list | None = None) -> torch.Tensor:
    frame, fitted_on = (pl.DataFrame({feature.columns[0]: values}) for values in (column, training or column))
    return feature.encode(frame, feature.fit(fitted_on)).take(torch.arange(frame.height))


class TestNumeric:
    def test_standardises_and_marks_null(self):
        values = encoded(Numeric(name="x"), [1.0, 3.0, None])
        assert values.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]

    def test_log_is_odd_and_tames_tails(self):
        values = encoded(Numeric(name="x", transform="log"), [-(np.e - 1), 0.0, np.e - 1])[:, 0]
        torch.testing.assert_close(values, torch.tensor([-1.0, 0.0, 1.0]) * np.sqrt(1.5).astype(np.float32))

    def test_quantile_does_not_change_with_the_unit(self):
        column = np.random.default_rng(0).lognormal(size=500)
        feature = Numeric(name="x", transform="quantile")
        torch.testing.assert_close(encoded(feature, column.tolist()), encoded(feature, (1000 * column).tolist()))
        ranks = encoded(feature, column.tolist())[:, 0].numpy()
        np.testing.assert_allclose(ranks, 2 * column.argsort().argsort() / 499 - 1, atol=0.005)
        assert encoded(feature, [1e9], column.tolist())[0, 0] == pytest.approx(1)

    def test_a_constant_is_zero(self):
        assert encoded(Numeric(name="x"), [5.0, 5.0])[:, 0].tolist() == [0.0, 0.0]


class TestCategorical:
    def test_frequent_first_and_zero_for_null_rare_and_unseen(self):
        feature = Categorical(name="x", minimum_count=2)
        training = ["b", "b", "b", "a", "a", "c", None]
        assert encoded(feature, ["b", "a", "c", "zzz", None], training).tolist() == [1, 2, 0, 0, 0]

    def test_does_not_depend_on_the_order_of_rows(self):
        values = [3, 1, 2, 2, 1]
        assert (
            Categorical(name="x")
            .fit(pl.DataFrame({"x": values}))
            .equals(Categorical(name="x").fit(pl.DataFrame({"x": values[::-1]})))
        )

    def test_an_integer_written_as_text_is_the_same_id(self):
        frame = pl.DataFrame({"x": [2**40, 7]})
        state = Categorical(name="x").fit(frame)
        request = pl.DataFrame({"x": [str(2**40), "seven"]})
        assert Categorical(name="x").encode(request, state).take(torch.arange(2)).tolist()[1] == 0
        assert Categorical(name="x").encode(request, state).take(torch.arange(1)).tolist()[0] > 0

    def test_id_dropout_reads_some_as_unseen_in_training_only(self):
        feature = Categorical(name="x", id_dropout=0.5)
        encoder = feature.build(feature.fit(pl.DataFrame({"x": [1, 1]})))
        torch.manual_seed(0)
        ids = torch.ones(2000, dtype=torch.long)
        unseen = encoder(torch.zeros(1, dtype=torch.long))
        dropped = (encoder(ids) == unseen).all(1).float().mean()
        assert 0.45 < dropped < 0.55
        assert not (encoder.eval()(ids) == unseen).all(1).any()


class TestMultiCategorical:
    def test_unseen_values_are_left_out_and_nulls_are_empty(self):
        feature = MultiCategorical(name="x")
        bag = encoded(feature, [["a", "new"], None, [], ["b", "a"]], [["a"], ["a", "b"]])
        assert bag.offsets_B.tolist() == [0, 1, 1, 1]
        assert bag.values.tolist() == [1, 2, 1]

    def test_strings_are_split_and_stripped(self):
        bag = encoded(MultiCategorical(name="x", separator="|"), ["a| b", "", None, "b"])
        assert bag.offsets_B.tolist() == [0, 2, 2, 2]
        assert len(bag.values) == 3


class TestVector:
    def test_standardises_each_dimension_and_marks_null(self):
        values = encoded(Vector(name="x"), [[1.0, 5.0], [3.0, 5.0], None])
        assert values.tolist() == [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ([[1.0], [1.0, 2.0]], "expected vectors of one length, found the lengths"),
            ([[1.0, float("nan")]], "expected finite numbers, found null, NaN or infinity inside the vector of row 0"),
            (["a"], "expected lists of numbers, found the type String"),
        ],
    )
    def test_what_is_no_vector_is_refused(self, column: list, message: str):
        with pytest.raises(UserError, match=f"column 'x' of the feature 'x': {message}"):
            encoded(Vector(name="x"), column)
