"""Token vectors: equal to the libraries that wrote them."""

import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tokenizers
from safetensors.numpy import save_file

from polyrec import StaticVectors, UserError
from polyrec.language.encoders import static_vectors
from polyrec.language.models.installed import package_folders

TEXTS = ["Toy Story. Animation, Children's, Comedy", "a", "The Good, the Bad and the Ugly " * 90, "🎬 西遊記 فيلم", "  ", ""]
WORDS = ["the", "cat", "hat", "dog"]


def test_equal_wordllama(monkeypatch: pytest.MonkeyPatch):
    # wordllama reads its settings with a package that need not be here: the standard library reads them as well
    toml = ModuleType("toml")
    toml.load = lambda path: tomllib.loads(Path(path).read_text())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toml", toml)
    from wordllama import WordLlama

    (folder,) = package_folders("wordllama")
    reference = WordLlama.load(cache_dir=folder, disable_download=True).embed(TEXTS[:4], norm=True)
    vectors = StaticVectors().encode(TEXTS)
    assert vectors.shape == (6, 256)
    np.testing.assert_allclose(vectors[:4], reference, atol=1e-6)
    assert not vectors[4:].any()
    short = StaticVectors(dimensions=64).encode(TEXTS)
    cut = reference[:, :64]
    np.testing.assert_allclose(short[:4], cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)


def test_do_not_depend_on_the_batch():
    alone = np.concatenate([StaticVectors().encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(alone, StaticVectors().encode(TEXTS))


def write(folder: Path, tensors: dict[str, np.ndarray], config: dict | None = None) -> StaticVectors:
    """Write a model of a few words in model2vec's layout."""
    static_vectors._read.cache_clear()
    static_vectors.folder_hash.cache_clear()
    numbers = {word: number for number, word in enumerate(["[UNK]", *WORDS])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return StaticVectors(model=str(folder))


TABLE = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_of_model2vec_are_the_mean_of_known_words(tmp_path: Path):
    encoder = write(tmp_path, {"embeddings": TABLE})
    np.testing.assert_allclose(encoder.encode(["the cat unknown", "unknown", "dog"]), [[3, 4], [0, 0], [8, 9]])


def test_of_model2vec_are_normalised_where_its_configuration_says_so(tmp_path: Path):
    encoder = write(tmp_path, {"embeddings": TABLE}, {"normalize": True})
    np.testing.assert_allclose(encoder.encode(["the cat", "unknown"]), [[0.6, 0.8], [0, 0]], atol=1e-6)


def test_of_model2vec_are_weighted_and_shared_where_its_file_says_so(tmp_path: Path):
    tensors = {"embeddings": TABLE[:2], "weights": np.array([9.0, 1, 2, 3, 4]), "mapping": np.array([0, 1, 1, 0, 0])}
    encoder = write(tmp_path, tensors)
    np.testing.assert_allclose(encoder.encode(["the cat hat"]), [[(1 * 2 + 2 * 2 + 0) / 3, (1 * 3 + 2 * 3 + 3 * 1) / 3]])


def test_identity_is_the_content(tmp_path: Path):
    first = write(tmp_path, {"embeddings": TABLE}).identity()
    assert write(tmp_path, {"embeddings": TABLE}).identity() == first
    assert write(tmp_path, {"embeddings": TABLE + 1}).identity() != first
    assert write(tmp_path, {"embeddings": TABLE}).replace(dimensions=1).identity() != first


class TestMistakes:
    def test_a_table_shorter_than_the_vocabulary(self, tmp_path: Path):
        encoder = write(tmp_path, {"embeddings": TABLE[:3]})
        with pytest.raises(UserError, match=r"expected finite vectors for the 5 tokens.*found a tensor of shape \(3, 2\)"):
            encoder.encode(["a"])

    def test_a_table_with_a_hole(self, tmp_path: Path):
        encoder = write(tmp_path, {"embeddings": np.where(TABLE == 4, np.nan, TABLE)})
        with pytest.raises(UserError, match="expected finite vectors"):
            encoder.encode(["a"])

    def test_a_file_of_something_else(self, tmp_path: Path):
        encoder = write(tmp_path, {"weight": TABLE})
        with pytest.raises(UserError, match=r"expected a tensor named embedding\.weight or embeddings.*found weight"):
            encoder.encode(["a"])

    def test_a_folder_without_a_table(self, tmp_path: Path):
        with pytest.raises(UserError, match=r"expected one tokenizer .*found none"):
            StaticVectors(model=str(tmp_path)).encode(["a"])

    def test_more_dimensions_than_there_are(self):
        with pytest.raises(UserError, match="`dimensions` of at most 256"):
            StaticVectors(dimensions=257).encode(["a"])

    def test_a_package_that_is_not_there(self):
        with pytest.raises(ImportError, match="pip install --no-deps no-such-vectors"):
            StaticVectors(model="no-such-vectors").encode(["a"])
