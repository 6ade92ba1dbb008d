"""Residual k-means: what codes keep of vectors, and what is counted of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.cluster import KMeans

from polyrec.core.files import read_parquet, write_parquet
from polyrec.language.semantic_ids import Codebooks, fit_codebooks, twin_numbers, usage


def vectors(rows: int, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


class TestCodebooks:
    @settings(max_examples=50)
    @given(rows=st.integers(1, 40), more=st.integers(0, 20), seed=st.integers(0, 99))
    def test_reconstruct_exactly_where_each_vector_has_a_code(self, rows: int, more: int, seed: int):
        x_ND = vectors(rows, seed=seed)
        books = fit_codebooks(x_ND, levels=1, codes=max(rows + more, 2))
        assert books.sizes == (rows,)
        assert np.array_equal(books.decode(books.encode(x_ND)), x_ND)
        assert books.unexplained(x_ND) == (0.0,)

    @settings(max_examples=30)
    @given(rows=st.integers(1, 60), levels=st.integers(1, 4), codes=st.integers(2, 9), seed=st.integers(0, 99))
    def test_leave_less_at_each_level_and_use_every_code(self, rows: int, levels: int, codes: int, seed: int):
        x_ND = vectors(rows, seed=seed)
        books = fit_codebooks(x_ND, levels, codes, seed)
        codes_NL = books.encode(x_ND)
        left = [1.0, *books.unexplained(x_ND)]
        assert all(after <= before + 1e-6 for before, after in pairwise(left))
        assert [len(np.unique(code_N)) for code_N in codes_NL.T] == list(books.sizes)
        assert max(books.sizes) <= codes

    def test_of_one_level_are_the_means_that_scikit_learn_finds(self):
        x_ND = vectors(300)
        (actual_KD,) = fit_codebooks(x_ND, levels=1, codes=7, seed=5).levels
        sorted_ND = np.unique(x_ND, axis=0)
        oracle = KMeans(7, n_init=1, random_state=5).fit(sorted_ND)
        order = np.lexsort(oracle.cluster_centers_.T)
        np.testing.assert_allclose(actual_KD[np.lexsort(actual_KD.T)], oracle.cluster_centers_[order], atol=1e-4)

    def test_codes_are_each_the_nearest_to_what_is_left(self):
        x_ND = vectors(200)
        books = fit_codebooks(x_ND, levels=3, codes=8)
        unseen_ND = vectors(50, seed=1)
        for x_D, codes_L in zip(unseen_ND, books.encode(unseen_ND), strict=True):
            for codes_KD, code in zip(books.levels, codes_L, strict=True):
                assert code == np.linalg.norm(codes_KD - x_D, axis=1).argmin()
                x_D = x_D - codes_KD[code]

    def test_are_the_same_for_a_seed_in_any_order_and_however_often_a_vector_stands_there(self):
        x_ND = vectors(120)
        again = np.concatenate([x_ND[::-1], x_ND[:50]])
        assert_frame_equal(fit_codebooks(x_ND, 3, 8, 4).to_frame(), fit_codebooks(again, 3, 8, 4).to_frame(), check_exact=True)
        assert not fit_codebooks(x_ND, 3, 8, 4).to_frame().equals(fit_codebooks(x_ND, 3, 8, 5).to_frame())

    def test_of_equal_vectors_are_one_code(self):
        books = fit_codebooks(np.ones((5, 3), dtype=np.float32), levels=2, codes=4)
        assert books.sizes == (1, 1)
        assert books.unexplained(np.ones((5, 3), dtype=np.float32)) == (0.0, 0.0)

    def test_survive_parquet(self, tmp_path):
        books = fit_codebooks(vectors(50), 2, 6)
        write_parquet(tmp_path / "books.parquet", books.to_frame())
        again = Codebooks.of_frame(read_parquet(tmp_path / "books.parquet"))
        assert again.sizes == books.sizes
        assert np.array_equal(again.encode(vectors(20, seed=3)), books.encode(vectors(20, seed=3)))

    def test_near_vectors_share_their_first_code(self):
        around = np.repeat(10 * vectors(4), 25, axis=0) + 0.1 * vectors(100, seed=1)
        codes_NL = fit_codebooks(around, levels=2, codes=4).encode(around)
        assert all(len(np.unique(group, axis=0)) == 1 for group in codes_NL[:, :1].reshape(4, 25))
        assert len(np.unique(codes_NL[:, 0])) == 4


@given(codes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_twin_numbers_count_those_before_with_the_same_codes(codes: list[tuple[int, int]]):
    twin_N = twin_numbers(np.array(codes))
    assert twin_N.tolist() == [codes[:place].count(code) for place, code in enumerate(codes)]
    assert len(set(zip(codes, twin_N.tolist(), strict=True))) == len(codes)


def test_usage_pinned():
    first, second = usage(np.array([[0, 1], [0, 1], [0, 2], [3, 1]]), codes=4)
    assert first == {"used": 2, "utilisation": 0.5, "perplexity": pytest.approx(4 / 3**0.75), "colliding": 0.75}
    assert second == {"used": 2, "utilisation": 0.5, "perplexity": pytest.approx(4 / 3**0.75), "colliding": 0.5}
