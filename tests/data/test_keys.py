"""Positions and canonical texts of keys."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from polyrec.data.keys import Keys, key_text, key_texts


class TestKeys:
    @pytest.mark.parametrize(
        "keys",
        [[30, 10, 30], ["30", "10", "30"], pl.Series([30, 10, 30], dtype=pl.Int8), np.array([30, 10, 30])],
        ids=["integers", "text", "series", "array"],
    )
    def test_are_found_whatever_type_they_are_asked_in(self, keys):
        assert Keys(pl.Series([10, 20, 30])).find(keys) == [2, 0, 2]

    def test_that_are_not_there_have_no_place(self):
        keys = Keys(pl.Series([10, 20, 30]))
        assert keys.find([20, 21, None]) == [1, None, None]
        assert keys.find(["x"]) == [None]
        assert keys.find([[20]]) == [None]
        assert keys.find([20, object()]) == [1, None]
        assert keys.find([]) == []

    def test_null_is_no_key(self):
        assert Keys(pl.Series([1, None])).find([None, 1]) == [None, 0]

    def test_may_be_text_categories_or_dates(self):
        assert Keys(pl.Series(["a", "7"])).find([7]) == [1]
        assert Keys(pl.Series(["a", "b"], dtype=pl.Categorical)).find(["b"]) == [1]
        assert Keys(pl.Series([date(2024, 1, 1), date(2024, 1, 2)])).find([date(2024, 1, 2)]) == [1]


class TestTexts:
    @pytest.mark.parametrize(
        ("kind", "keys", "text"),
        [
            (pl.Int64(), ["101", "0101", "+101"], "101"),
            (pl.Int64(), ["0", "-0", "+0"], "0"),
            (pl.UInt8(), ["7", "007"], "7"),
            (pl.Float64(), ["100", "100.0", "1e2", "0100", "+100"], "100"),
            (pl.Float64(), ["0", "-0", "-0.0", "0.0"], "0"),
            (pl.Float64(), ["0.5", ".5", "5e-1"], "0.5"),
            (pl.Float32(), ["3", "3.0"], "3"),
        ],
    )
    def test_of_a_key_are_one_however_it_is_written(self, kind: pl.DataType, keys: list[str], text: str):
        assert set(key_texts(pl.Series(keys), kind)) == {text}
        assert {key_text(key, kind) for key in keys} == {text}

    @pytest.mark.parametrize("kind", [pl.Int64(), pl.Float64(), pl.String(), pl.Date(), pl.Boolean(), pl.Categorical()])
    def test_of_what_is_no_such_key_are_as_they_were(self, kind: pl.DataType):
        keys = ["x101", "a/b", "ü", "0x10", "1_0"]
        assert key_texts(pl.Series(keys), kind).to_list() == keys

    def test_of_keys_of_another_type_are_those_of_the_kind(self):
        assert key_texts(pl.Series([100.0, 100.5]), pl.Int64()).to_list() == ["100", "100.5"]
        assert key_texts(pl.Series(["0100", "x"]), pl.Float64()).to_list() == ["100", "x"]
        assert key_texts(pl.Series([100, 7]), pl.Float64()).to_list() == ["100", "7"]
        assert key_texts(pl.Series([1e20, float("nan")]), pl.Float64()).to_list() == ["1e+20", "NaN"]

    @pytest.mark.parametrize("kind", [pl.Int64(), pl.Float64(), pl.Float32(), pl.String()])
    def test_stay_when_they_are_read_again(self, kind: pl.DataType):
        keys = pl.Series(["0101", "1e2", "2.50", "-0", "nan", "99999999999999999999", "0.1", "x"])
        once = key_texts(keys, kind)
        assert key_texts(once, kind).equals(once)
