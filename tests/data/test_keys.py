"""Where keys stand."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from polyrec.data.keys import Keys


class TestKeys:
    @pytest.mark.parametrize(
        "asked",
        [[30, 10, 30], ["30", "10", "30"], pl.Series([30, 10, 30], dtype=pl.Int8), np.array([30, 10, 30])],
        ids=["integers", "text", "series", "array"],
    )
    def test_are_found_whatever_type_they_are_asked_in(self, asked):
        assert Keys(pl.Series([10, 20, 30])).find(asked) == [2, 0, 2]

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
