"""Hashed: rows that never change, that null and look-alikes get right, and that collide no more than chance says."""

import os
import subprocess
import sys
from datetime import date

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrec import Hashed, UserError
from polyrec.features.hashing import hash_values, mix

TEXTS = ["", "a", "eight_by", "größer als acht"]

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def textbook_mix(state: int) -> int:
    """Return SplitMix64's next output, in integers without bound."""
    mask = 2**64 - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def textbook_hash(text: str) -> int:
    data = text.encode()
    padded = data + bytes(8 - len(data) % 8)
    parts = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    return textbook_mix((sum(textbook_mix(part ^ textbook_mix(place)) for place, part in enumerate(parts)) + len(data)) % 2**64)


def rows_of(feature: Hashed, column: list | pl.Series, training: list | pl.Series | None = None) -> list:
    frame, fitted_on = (pl.DataFrame({"x": values}) for values in (column, column if training is None else training))
    return feature.encode(frame, feature.fit(fitted_on)).take(torch.arange(frame.height)).tolist()


class TestHash:
    def test_is_splitmix64_as_published(self):
        assert mix(np.array([0], np.uint64)).tolist() == [0xE220A8397B1DCDAF]

    @given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
    def test_of_integers_is_the_textbooks(self, numbers: list[int]):
        found = hash_values(pl.Series(numbers, dtype=pl.Int64))
        assert found.tolist() == [textbook_mix(number % 2**64) for number in numbers]

    @given(texts=st.lists(words, min_size=1))
    def test_of_strings_is_the_textbooks(self, texts: list[str]):
        assert hash_values(pl.Series(texts)).tolist() == [textbook_hash(text) for text in texts]

    def test_of_an_integer_does_not_depend_on_its_size(self):
        every = [hash_values(pl.Series([3, 100], dtype=kind)).tolist() for kind in (pl.Int8, pl.UInt16, pl.Int64, pl.UInt64)]
        assert every[1:] == every[:1] * 3


class TestHashed:
    def test_rows_are_pinned(self):
        """A change of these numbers would read other rows for the ids of every model that was ever saved."""
        assert rows_of(Hashed(name="x", rows=1000, hashes=2), [0, 1, 42, None]) == [
            [415, 1340],
            [162, 1713],
            [741, 1057],
            [0, 0],
        ]
        assert rows_of(Hashed(name="x", rows=1000, hashes=4, seed=7), TEXTS) == [
            [619, 1582, 2194, 3882],
            [588, 1233, 2173, 3996],
            [750, 1281, 2919, 3833],
            [854, 1340, 2485, 3057],
        ]

    def test_rows_are_the_same_in_another_process(self):
        code = (
            "import polars as pl; from polyrec import Hashed; f = Hashed(name='x', rows=1000);"
            "t = pl.DataFrame({'x': ['b', 'cd']});"
            "print(f.encode(t, f.fit(t)).values_N.tolist())"
        )
        there = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "77"}
        )
        assert there.stdout.strip() == str(rows_of(Hashed(name="x", rows=1000), ["b", "cd"]))

    def test_an_integer_written_as_text_is_the_same_id_and_a_word_among_integers_is_nulls_kin(self):
        feature = Hashed(name="x", rows=1000)
        assert rows_of(feature, ["42", "word"], [42]) == [rows_of(feature, [42])[0], [0] * 4]
        assert rows_of(feature, [42], ["42"]) == rows_of(feature, ["42"])

    def test_training_of_nothing_but_null_takes_any_type_later(self):
        assert rows_of(Hashed(name="x", rows=1000), ["a"], [None]) == rows_of(Hashed(name="x", rows=1000), ["a"])

    def test_categories_are_read_as_the_strings_they_are(self):
        column = pl.Series(["a", "b"])
        assert rows_of(Hashed(name="x", rows=99), column.cast(pl.Categorical)) == rows_of(Hashed(name="x", rows=99), column)

    @pytest.mark.parametrize("column", [[True, False], [date(2024, 1, 1), date(2024, 1, 2)], [2**63, 2**64 - 1]])
    def test_tells_values_of_other_types_apart(self, column: list):
        first, second = rows_of(Hashed(name="x", rows=10**6), column)
        assert first != second

    @pytest.mark.parametrize("column", [[0.5], [[1]], [b"a"]])
    def test_what_is_no_id_is_refused(self, column: list):
        with pytest.raises(UserError, match="column 'x' of the feature 'x': expected integers, strings"):
            rows_of(Hashed(name="x", rows=9), column)

    @settings(max_examples=25)
    @given(
        ids=st.lists(st.none() | words, min_size=1, max_size=60),
        rows=st.integers(1, 100),
        hashes=st.integers(1, 4),
        seed=st.integers(0, 2**63 - 1),
    )
    def test_rows_lie_in_the_table_and_depend_on_the_value_alone(self, ids: list, rows: int, hashes: int, seed: int):
        feature = Hashed(name="x", rows=rows, hashes=hashes, seed=seed, width=12)
        column = pl.Series("x", ids, dtype=pl.String)
        found = rows_of(feature, column)
        for value, own in zip(ids, found, strict=True):
            assert [(row - 1) // rows for row in own] == ([-1] * hashes if value is None else list(range(hashes)))
        assert [rows_of(feature, column[at : at + 1], column)[0] for at in range(min(len(ids), 5))] == found[:5]
        state = feature.fit(column.to_frame())
        known = {value for value in ids if value is not None}
        assert state["distinct"].item() == len(known)
        assert (state["colliding"].item() == 0) == (len({tuple(own) for own in found if own[0]}) == len(known))

    def test_colliding_is_the_share_that_shares_all_rows_with_another(self):
        """With three rows and one function, whoever is not alone in its row."""
        found = [own for (own,) in rows_of(Hashed(name="x", rows=3, hashes=1), list(range(4)))]
        share = sum(found.count(own) > 1 for own in found) / 4
        assert Hashed(name="x", rows=3, hashes=1).fit(pl.DataFrame({"x": [0, 1, 2, 3, 3, None]}))["colliding"].item() == share

    @pytest.mark.parametrize("column", [pl.Series(range(20_000)), pl.Series(range(20_000)).cast(pl.String)])
    def test_collides_as_chance_says(self, column: pl.Series):
        """One function: a share of 1 - exp(-n / rows). Two: 1 - exp(-n / rows^2)."""
        table = column.alias("x").to_frame()
        one = Hashed(name="x", rows=40_000, hashes=1).fit(table)["colliding"].item()
        two = Hashed(name="x", rows=500, hashes=2).fit(table)["colliding"].item()
        assert one == pytest.approx(1 - np.exp(-0.5), abs=0.02)
        assert two == pytest.approx(1 - np.exp(-0.08), abs=0.02)

    def test_rows_are_used_evenly(self):
        found = np.array(rows_of(Hashed(name="x", rows=100, hashes=2), list(range(100_000))))
        counts = np.bincount(found.ravel(), minlength=201)[1:]
        assert ((counts - 1000) ** 2 / 1000).sum() < 300

    def test_the_vector_is_the_parts_side_by_side(self):
        feature = Hashed(name="x", rows=50, hashes=2, width=4)
        table = pl.DataFrame({"x": ["a", None]})
        state = feature.fit(table)
        encoder = feature.build(state)
        first, second = rows_of(feature, ["a"])[0]
        weight = encoder.table.weight
        assert weight.shape == (101, 2)
        vectors = encoder(feature.encode(table, state).take(torch.arange(2)))
        assert torch.equal(vectors, torch.stack([weight[[first, second]].flatten(), weight[[0, 0]].flatten()]))
        assert encoder.tables() == [encoder.table]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [({"rows": 9, "hashes": 3}, "width 32, which is no multiple of its 3 parts"), ({"rows": 2**29}, "too many to number")],
    )
    def test_what_cannot_be_laid_out_is_refused(self, settings: dict, message: str):
        with pytest.raises(ValidationError, match=message):
            Hashed(name="x", **settings)
