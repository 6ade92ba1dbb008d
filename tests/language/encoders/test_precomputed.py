"""Vectors by key: found whatever their order, refused where they are of no use."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polyrec import Precomputed, Text, UserError
from polyrec.language.cache.cache import encode_cached
from polyrec.language.cache.vector_store import store_path

VECTORS = {"b": [1.0, 2.0], "42": [3.0, 4.0], "a b": [5.0, 6.0]}


def frame(keys: list, vectors: list) -> pl.DataFrame:
    return pl.DataFrame({"key": keys, "vector": vectors})


def write(folder: Path, suffix: str) -> str:
    path, table = folder / f"vectors{suffix}", frame(list(VECTORS), list(VECTORS.values()))
    if suffix == ".parquet":
        table.write_parquet(path)
    elif suffix == ".npz":
        np.savez(path, key=np.array(list(VECTORS)), vector=np.array(list(VECTORS.values()), dtype=np.float64))
    else:
        table.write_ipc(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".npz"])
def test_are_found_by_key(tmp_path: Path, suffix: str):
    encoder = Precomputed(path=write(tmp_path, suffix))
    np.testing.assert_array_equal(encoder.encode(["42", "", "a b", "42"]), [[3, 4], [0, 0], [5, 6], [3, 4]])
    assert encoder.encode([""]).shape == (1, 2)


def test_numbers_may_be_keys_and_the_feature_renders_them(tmp_path: Path):
    path = tmp_path / "images.parquet"
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(9, 4)).astype(np.float32)
    pl.DataFrame({"item_id": range(9, 18), "image": pl.Series(vectors, dtype=pl.Array(pl.Float32, 4))}).write_parquet(path)
    encoder = Precomputed(path=str(path), key="item_id", vector="image")
    feature = Text(name="image", template="{item_id}", encoder=encoder)
    items = pl.DataFrame({"item_id": [17, 9, 12]})
    np.testing.assert_array_equal(encoder.encode(feature.render(items).to_list()), vectors[[8, 0, 3]])


def test_are_not_copied_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path / "cache"))
    encoder = Precomputed(path=write(tmp_path, ".parquet"))
    np.testing.assert_array_equal(encode_cached(encoder, ["b", "", "42", "b"]), [[1, 2], [0, 0], [3, 4], [1, 2]])
    assert not store_path().exists()


def test_a_key_without_a_vector_is_named_or_has_the_vector_zero(tmp_path: Path):
    encoder = Precomputed(path=write(tmp_path, ".parquet"))
    with pytest.raises(UserError, match=r"a vector for each of 3 keys, found none for 2: 'x', 'y'\. Add them"):
        encoder.encode(["x", "b", "y"])
    with pytest.raises(UserError, match=r"found none for 99: '0', '1', '2', '3', '4', …"):
        encoder.encode([str(number) for number in range(100)])
    np.testing.assert_array_equal(encoder.replace(missing="zero").encode(["x", "b"]), [[0, 0], [1, 2]])


def test_a_file_that_changes_is_read_anew(tmp_path: Path):
    path = tmp_path / "vectors.parquet"
    frame(["a"], [[1.0]]).write_parquet(path)
    encoder = Precomputed(path=str(path))
    first = encoder.identity()
    assert encoder.encode(["a"]) == 1
    frame(["a"], [[2.0, 3.0]]).write_parquet(path)
    assert encoder.identity() != first
    np.testing.assert_array_equal(encoder.encode(["a"]), [[2, 3]])


def test_a_key_written_twice_with_one_vector_is_one(tmp_path: Path):
    frame(["a", "a"], [[1.0], [1.0]]).write_parquet(tmp_path / "v.parquet")
    assert Precomputed(path=str(tmp_path / "v.parquet")).encode(["a"]) == 1


BAD = {
    "two vectors of one key": (frame(["a", "a"], [[1.0], [2.0]]), "one vector a key, found two that differ for 'a'"),
    "widths": (frame(["a", "b"], [[1.0], [1.0, 2.0]]), "vectors of one width in 'vector', found widths 1, 2"),
    "a vector that is null": (frame(["a", "b"], [[1.0], None]), "found widths 0, 1"),
    "nan": (frame(["a", "b"], [[1.0], [float("nan")]]), "NaN, null or infinity in 1 vectors, such as that of 'b'"),
    "infinity": (frame(["a"], [[float("inf")]]), "expected finite numbers"),
    "too large for float32": (frame(["a"], [[1e300]]), "expected finite numbers"),
    "a null inside": (frame(["a"], [[1.0, None]]), "expected finite numbers"),
    "no vectors": (frame(["a"], [[1.0]])[:0], "expected vectors"),
    "empty vectors": (pl.DataFrame({"key": ["a"], "vector": pl.Series([[]], dtype=pl.List(pl.Float32))}), "expected vectors"),
    "texts": (frame(["a"], ["1.0"]), "lists of numbers in 'vector', found the type String"),
    "lists of texts": (frame(["a"], [["1.0"]]), "lists of numbers"),
    "keys with fractions": (frame([1.5], [[1.0]]), "expected texts or whole numbers, found the type Float64"),
    "keys that are null": (frame(["a", None], [[1.0], [2.0]]), "with 1 nulls"),
    "another column": (pl.DataFrame({"keys": ["a"], "vector": [[1.0]]}), "a column 'key', found none. Did you mean 'keys'?"),
}


@pytest.mark.parametrize(("table", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_of_no_use_is_refused(tmp_path: Path, table: pl.DataFrame, message: str):
    table.write_parquet(tmp_path / "v.parquet")
    with pytest.raises(UserError) as caught:
        Precomputed(path=str(tmp_path / "v.parquet")).encode(["a"])
    assert message in str(caught.value)


class TestFiles:
    def test_none(self, tmp_path: Path):
        with pytest.raises(UserError, match="expected vectors by key, found no such file"):
            Precomputed(path=str(tmp_path / "v.parquet")).encode(["a"])

    @pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npz", ".csv"])
    def test_of_another_kind(self, tmp_path: Path, suffix: str):
        path = tmp_path / f"v{suffix}"
        path.write_text("key,vector\na,1")
        with pytest.raises(UserError, match=f"file '{path}'"):
            Precomputed(path=str(path)).encode(["a"])

    def test_of_objects_are_not_unpickled(self, tmp_path: Path):
        np.savez(tmp_path / "v.npz", key=np.array(["a"], dtype=object), vector=np.ones((1, 2)))
        with pytest.raises(UserError, match="arrays without objects"):
            Precomputed(path=str(tmp_path / "v.npz")).encode(["a"])

    @pytest.mark.parametrize("vector", [np.ones(2), np.ones((3, 2)), np.array([["a"], ["b"]])])
    def test_of_other_shapes(self, tmp_path: Path, vector: np.ndarray):
        np.savez(tmp_path / "v.npz", key=np.array(["a", "b"]), vector=vector)
        with pytest.raises(UserError, match=r"numbers of shape \(K, D\) in 'vector'"):
            Precomputed(path=str(tmp_path / "v.npz")).encode(["a"])
