"""What every text encoder keeps. One whose examples need a file that is not here is made from a file that the tests write."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polyrec import Gguf, HuggingFace, Package, Precomputed, UserError, kinds
from polyrec.language.cache import encode_cached
from polyrec.language.counting import counting
from polyrec.language.encoder import TextEncoder

TEXTS = [
    "the cat in a hat",
    "a",
    "one text of rather more words than any other, with 🎬 and 西遊記 in it",
    "the cat in the hat",
    "b c",
]


def precomputed(folder: Path) -> TextEncoder:
    vectors = np.random.default_rng(0).normal(size=(len(TEXTS), 8))
    pl.DataFrame({"key": TEXTS, "vector": vectors.tolist()}).write_parquet(folder / "vectors.parquet")
    return Precomputed(path=str(folder / "vectors.parquet"))


MADE: dict[str, Callable[[Path, Path], list[TextEncoder]]] = {
    "HuggingFace": lambda folder, gguf: [HuggingFace(model=str(Package().folder()), pooling="weighted_mean", dimensions=16)],
    "Gguf": lambda folder, gguf: [Gguf(path=str(gguf)), Gguf(path=str(gguf), pooling="mean", prompt="in: ")],
    "Precomputed": lambda folder, gguf: [precomputed(folder)],
}
"""Encoders of the kinds whose examples name files or hubs that are not here."""

ELSEWHERE = {"EmbeddingsEndpoint"}
"""Kinds that need a server, tried against one in their own tests."""

NAMES = [name for name, kind in kinds("encoders").items() if name not in ELSEWHERE and not hasattr(kind, "learn")]
"""Those that are fitted on training texts first are tried as part of the feature that fits them."""


@pytest.fixture(params=NAMES, scope="module")
def encoders(
    request: pytest.FixtureRequest, tmp_path_factory, tiny_gguf: Path, _own_cache: None
) -> Iterator[list[TextEncoder]]:
    kind = kinds("encoders")[request.param]
    if request.param in MADE:
        yield MADE[request.param](tmp_path_factory.mktemp("encoders"), tiny_gguf)
    else:
        yield [kind(**example) for example in kind.examples]  # type: ignore[misc]


def test_a_vector_is_finite_and_as_wide_as_it_says(encoders: list[TextEncoder]):
    for encoder in encoders:
        vectors = encoder.encode(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), encoder.vector_width())
        assert np.isfinite(vectors).all()
        assert (np.abs(vectors).sum(1) > 0).all()


def test_a_vector_depends_on_its_text_alone(encoders: list[TextEncoder]):
    for encoder in encoders:
        together = encoder.encode(TEXTS)
        scale = np.abs(together).max()
        alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
        np.testing.assert_allclose(alone / scale, together / scale, atol=1e-5)
        turned = encoder.encode([*TEXTS[::-1], *TEXTS])
        np.testing.assert_allclose(turned[len(TEXTS) :] / scale, together / scale, atol=1e-5)
        np.testing.assert_allclose(turned[: len(TEXTS)][::-1] / scale, together / scale, atol=1e-5)


def test_different_texts_have_different_vectors(encoders: list[TextEncoder]):
    for encoder in encoders:
        vectors = encoder.encode(TEXTS)
        apart = np.abs(vectors[:, None] - vectors).max(2) + np.eye(len(TEXTS)) * 9
        assert apart.min() > 1e-4


def test_a_blank_text_has_the_vector_zero_and_changes_no_other(encoders: list[TextEncoder]):
    for encoder in encoders:
        mixed = encode_cached(encoder, ["", TEXTS[0], " \n"])
        assert not mixed[[0, 2]].any()
        np.testing.assert_array_equal(mixed[1], encode_cached(encoder, [TEXTS[0]])[0])
        assert encode_cached(encoder, ["", ""]).shape == (2, encoder.vector_width())


def test_no_texts_are_no_vectors(encoders: list[TextEncoder]):
    for encoder in encoders:
        assert encode_cached(encoder, []).shape == (0, encoder.vector_width())


def test_the_identity_is_json_that_repeats_itself_and_tells_encoders_apart(encoders: list[TextEncoder]):
    identities = [json.dumps(encoder.identity(), sort_keys=True) for encoder in encoders]
    again = [json.dumps(encoder.replace().identity(), sort_keys=True) for encoder in encoders]
    assert identities == again
    assert len(set(identities)) == len(identities)


def test_the_cache_gives_back_what_was_encoded(encoders: list[TextEncoder]):
    for encoder in encoders:
        first = encode_cached(encoder, TEXTS)
        with counting() as count:
            np.testing.assert_array_equal(encode_cached(encoder, TEXTS[::-1])[::-1], first)
        assert count.texts == len(TEXTS)
        assert count.encoded == (0 if encoder.is_cached else len(TEXTS))
        scale = np.abs(first).max()
        np.testing.assert_allclose(first / scale, encoder.encode(TEXTS) / scale, atol=1e-5)


def test_truncated_says_for_each_text_whether(encoders: list[TextEncoder]):
    for encoder in encoders:
        is_truncated = encoder.truncated(TEXTS)
        assert is_truncated.shape == (len(TEXTS),)
        assert is_truncated.dtype == bool


def test_text_that_is_none_is_refused(encoders: list[TextEncoder]):
    for encoder in encoders:
        with pytest.raises(UserError, match="lone surrogate"):
            encode_cached(encoder, ["a\ud800"])


def test_progress_counts_every_text(encoders: list[TextEncoder]):
    for encoder in encoders:
        done: list[int] = []
        encoder.encode(TEXTS, done.append)
        assert sum(done) == len(TEXTS)


def test_pinned_it_is_the_same_encoder(encoders: list[TextEncoder]):
    for encoder in encoders:
        assert encoder.pinned().identity() == encoder.identity()
