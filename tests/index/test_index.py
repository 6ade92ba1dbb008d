"""What every index keeps: the right rows under any filter and change, and its file."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec import UserError
from polyrec.index.build import EXACT_UP_TO, build_index, load_index, save_index
from polyrec.index.exact import Exact
from polyrec.index.index import Index
from polyrec.index.inverted_file import InvertedFile

WIDTH = 16

BUILT: dict[str, Callable[[np.ndarray], Index]] = {
    "Exact": Exact.build,
    "InvertedFile": lambda vectors_ND: InvertedFile.build(vectors_ND, recall=1.0, lists=12),
}


@pytest.fixture(params=BUILT)
def build(request: pytest.FixtureRequest) -> Callable[[np.ndarray], Index]:
    return BUILT[request.param]


def unit(count: int, seed: int = 0, clusters: int = 40, width: int = WIDTH) -> np.ndarray:
    """Return clustered vectors of length one."""
    centres = np.random.default_rng(7).standard_normal((clusters, width))
    generator = np.random.default_rng(seed)
    vectors_ND = centres[generator.integers(clusters, size=count)] + 0.7 * generator.standard_normal((count, width))
    return (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)


def brute(vectors: dict[int, np.ndarray], query_D: np.ndarray, k: int) -> list[int]:
    """Return the rows of the highest products in double precision, of equal ones the first."""
    scores = {row: float((vector.astype(np.float64) * query_D.astype(np.float64)).sum()) for row, vector in vectors.items()}
    return sorted(scores, key=lambda row: (-scores[row], row))[:k]


def rows_of(index: Index, queries_QD: np.ndarray, k: int, keep: np.ndarray | None = None) -> list[list[int]]:
    return [[row for row in rows if row >= 0] for rows in index.search(queries_QD, k, keep).rows_QK.tolist()]


class TestEveryIndex:
    @settings(max_examples=30)
    @given(seed=st.integers(0, 10**6), count=st.integers(12, 300), k=st.integers(1, 40), share=st.floats(0, 1))
    def test_few_rows_are_those_of_brute_force(self, seed: int, count: int, k: int, share: float):
        vectors_ND, queries_QD = unit(count, seed), unit(3, seed + 1)
        keep = np.random.default_rng(seed).random(count) < share
        kept = {row: vectors_ND[row] for row in np.flatnonzero(keep).tolist()}
        for make in BUILT.values():
            index = make(vectors_ND)
            by_mask, by_rows = (rows_of(index, queries_QD, k, allowed) for allowed in (keep, np.flatnonzero(keep)))
            assert by_mask == by_rows == [brute(kept, query_D, k) for query_D in queries_QD]

    def test_scores_are_the_products_and_missing_rows_have_none(self, build: Callable[[np.ndarray], Index]):
        vectors_ND, queries_QD = unit(30), unit(2, 5)
        result = build(vectors_ND).search(queries_QD, 40)
        np.testing.assert_allclose(result.scores_QK[:, :30], -np.sort(-(queries_QD @ vectors_ND.T), 1), atol=1e-6)
        assert (result.rows_QK[:, 30:] == -1).all() and np.isneginf(result.scores_QK[:, 30:]).all()

    def test_equal_vectors_come_in_the_order_of_rows(self, build: Callable[[np.ndarray], Index]):
        vectors_ND = np.tile(unit(20), (11, 1))
        for query_D in unit(5, 1):
            (rows,) = rows_of(build(vectors_ND), query_D[None], 33)
            assert [row % 20 for row in rows] == sorted((row % 20 for row in rows), key=[row % 20 for row in rows].index)
            assert all(rows[at : at + 11] == sorted(rows[at : at + 11]) for at in (0, 11, 22))

    def test_a_query_is_answered_alike_alone_and_among_others(self, build: Callable[[np.ndarray], Index]):
        index, queries_QD = build(unit(500)), unit(9, 3)
        together = index.search(queries_QD, 20)
        for query, query_D in enumerate(queries_QD):
            alone = index.search(query_D[None], 20)
            np.testing.assert_array_equal(alone.rows_QK[0], together.rows_QK[query])
            np.testing.assert_array_equal(alone.scores_QK[0], together.scores_QK[query])

    @settings(max_examples=30)
    @given(
        changes=st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=60),
        seed=st.integers(0, 10**6),
        compacted=st.booleans(),
    )
    def test_changes_are_seen_at_once(self, changes: list[tuple[int, bool]], seed: int, compacted: bool):
        vectors_ND, fresh = unit(50), unit(len(changes), seed)
        for make in BUILT.values():
            index, known = make(vectors_ND), dict(enumerate(vectors_ND))
            for (row, is_put), vector_D in zip(changes, fresh, strict=True):
                if is_put:
                    index.put([row], vector_D[None])
                    known[row] = vector_D
                else:
                    assert index.remove([row]) == (known.pop(row, None) is not None)
            index = index.compacted() if compacted else index
            assert len(index) == len(known)
            assert index.pending == 0 or not compacted
            keep = np.arange(0, 81, 2)
            for query_D in unit(3, seed + 1):
                assert rows_of(index, query_D[None], 12) == [brute(known, query_D, 12)]
                even = {row: vector for row, vector in known.items() if row % 2 == 0}
                assert rows_of(index, query_D[None], 12, keep) == [brute(even, query_D, 12)]

    def test_its_file_gives_it_back(self, build: Callable[[np.ndarray], Index], tmp_path: Path):
        index, queries_QD = build(unit(200)), unit(4, 2)
        index.put([3, 500], unit(2, 9))
        index.remove([7])
        save_index(index, tmp_path / "index.safetensors")
        again = load_index(tmp_path / "index.safetensors")
        assert type(again) is type(index) and again.pending == 0 and len(again) == 200
        assert rows_of(again, queries_QD, 30) == rows_of(index, queries_QD, 30)
        assert [path.name for path in tmp_path.iterdir()] == ["index.safetensors"]

    def test_a_file_that_was_altered_is_refused(self, build: Callable[[np.ndarray], Index], tmp_path: Path):
        path = tmp_path / "index.safetensors"
        save_index(build(unit(40)), path)
        whole = bytearray(path.read_bytes())
        for altered in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2], b"", b"no index"):
            path.write_bytes(bytes(altered))
            with pytest.raises(UserError, match="an index as it was written"):
                load_index(path)
        with pytest.raises(UserError, match="no such file"):
            load_index(tmp_path / "absent")

    def test_it_may_change_while_others_search(self, build: Callable[[np.ndarray], Index]):
        """The vector that a search looks for is there before and after each of its replacements."""
        index, target = build(unit(2000)), unit(1, 77)
        index.put([5], target)
        missed: list[list[list[int]]] = []

        def look() -> None:
            for _ in range(200):
                rows = rows_of(index, target, 1)
                if rows != [[5]]:
                    missed.append(rows)

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            index.put([5], target)
        for thread in threads:
            thread.join()
        assert missed == []

    @pytest.mark.parametrize(
        ("ask", "why"),
        [
            (lambda index: index.search(unit(1), 0), "1 or more, found 0"),
            (lambda index: index.search(unit(1, width=3), 1), "width 16, found the shape"),
            (lambda index: index.search(np.full((1, WIDTH), np.nan), 1), "found length nan in line 0"),
            (lambda index: index.search(unit(1), 1, np.array([-1])), "from 0, found -1"),
            (lambda index: index.put([1, 1], unit(2)), "2 rows, 1 of them different"),
            (lambda index: index.put([1], 2 * unit(1)), "found length 2 in line 0"),
            (lambda index: index.remove([-4]), "from 0, found -4"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, build: Callable[[np.ndarray], Index], ask: Callable[[Index], object], why: str
    ):
        with pytest.raises(UserError, match=why):
            ask(build(unit(20)))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(40_000, 1, clusters=400)


@pytest.fixture(scope="module")
def index(vectors: np.ndarray) -> InvertedFile:
    return InvertedFile.build(vectors, recall=0.95)


class TestInvertedFile:
    @pytest.mark.parametrize("k", [10, 100, 400])
    @pytest.mark.parametrize("kept", ["all", "half", "a quarter", "a corner"])
    def test_finds_the_share_asked_for_under_any_filter(self, index: InvertedFile, vectors: np.ndarray, k: int, kept: str):
        draws = np.random.default_rng(2).random(len(vectors))
        corner = vectors[:, 0] >= np.quantile(vectors[:, 0], 0.75)
        keep = {"all": None, "half": draws < 0.5, "a quarter": draws < 0.25, "a corner": corner}[kept]
        queries_QD = unit(60, 8, clusters=400)
        true = rows_of(Exact.build(vectors), queries_QD, k, keep)
        rows = rows_of(index, queries_QD, k, keep)
        shares = [len(set(row) & set(true_row)) / k for row, true_row in zip(rows, true, strict=True)]
        assert np.mean(shares) > 0.93

    def test_looks_at_a_part_only(self, index: InvertedFile, vectors: np.ndarray):
        ((places, _),) = index._examine(unit(1, 8), 100, None)
        assert len(places) < len(vectors) / 3

    def test_a_higher_share_costs_more(self, vectors: np.ndarray):
        few, many = (InvertedFile.build(vectors[:5000], recall=share) for share in (0.5, 0.99))
        assert (few.budgets < many.budgets).all()

    def test_the_same_seed_makes_the_same_index(self, vectors: np.ndarray):
        one, same, other = (InvertedFile.build(vectors[:2000], seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.centroids_LD, same.centroids_LD)
        assert not np.array_equal(one.centroids_LD, other.centroids_LD)

    @pytest.mark.parametrize(
        ("options", "why"),
        [({"lists": 9}, "1 to 8, the vectors, found 9"), ({"recall": 0.0}, "above 0"), ({"lists": 0}, "1 to 8")],
    )
    def test_what_cannot_be_built_is_refused(self, options: dict, why: str):
        with pytest.raises(UserError, match=why):
            InvertedFile.build(unit(8), **{"lists": 2, **options})


def test_few_vectors_are_searched_exactly_and_many_by_lists(monkeypatch: pytest.MonkeyPatch):
    assert EXACT_UP_TO == 300_000
    monkeypatch.setattr("polyrec.index.build.EXACT_UP_TO", 500)
    assert type(build_index(unit(500))) is Exact
    assert type(build_index(unit(501))) is InvertedFile
