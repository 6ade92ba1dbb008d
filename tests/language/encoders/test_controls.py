"""The controls of every language model: wrong vectors, and vectors of nothing."""

import numpy as np
import polars as pl
import pytest

from polyrec import Text
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.random_vectors import RandomVectors
from polyrec.language.encoders.shuffled import Shuffled
from polyrec.language.encoders.tf_idf import TfIdf
from polyrec.language.encoders.vectors import learn, vectors

TEXTS = [f"film number {number} of {number % 3}" for number in range(10, 40)]


def test_random_vectors_are_a_texts_own():
    first, again = RandomVectors(width=64).encode(TEXTS), RandomVectors(width=64).encode(TEXTS[::-1])[::-1]
    np.testing.assert_array_equal(first, again)
    cosines = first @ first.T
    assert np.abs(cosines[~np.eye(30, dtype=bool)]).max() < 0.6
    assert np.diag(cosines).mean() == pytest.approx(1, abs=0.1)
    assert not np.array_equal(first, RandomVectors(width=64, seed=1).encode(TEXTS))


@pytest.mark.parametrize("encoder", [RandomVectors(width=8), TfIdf(minimum_count=1, components=28)])
def test_shuffled_vectors_are_the_encoders_dealt_to_other_texts(encoder: TextEncoder):
    shuffled = Shuffled(encoder=encoder)
    learned = shuffled.learn(TEXTS)
    plain = Text(name="t", encoder=encoder)
    state = plain.fit(pl.DataFrame({"t": TEXTS}))
    assert state.height == 1
    dealt = shuffled.encode_learned(TEXTS, learned)

    expected = vectors(encoder, TEXTS, learn(encoder, TEXTS))
    assert (dealt != expected).any(1).all()
    np.testing.assert_allclose(dealt[np.lexsort(dealt.T)], expected[np.lexsort(expected.T)], atol=1e-6)
    np.testing.assert_array_equal(dealt, shuffled.encode_learned(TEXTS, learned))


def test_a_text_never_seen_has_some_training_texts_vector():
    shuffled = Shuffled(encoder=RandomVectors(width=8))
    learned = shuffled.learn(TEXTS)
    (vector,) = shuffled.encode_learned(["a film never met"], learned)
    assert (np.abs(RandomVectors(width=8).encode(TEXTS) - vector).sum(1) == 0).sum() == 1


def test_one_text_alone_keeps_its_vector():
    shuffled = Shuffled(encoder=RandomVectors(width=8))
    np.testing.assert_array_equal(shuffled.encode_learned(["a"], shuffled.learn(["a"])), RandomVectors(width=8).encode(["a"]))
