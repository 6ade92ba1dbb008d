"""TfIdf: equal to the reference, fitted on training texts alone."""

import numpy as np
import polars as pl
import pytest

from polyrec import Text, TfIdf, UserError

TEXTS = ["the red car", "the blue car", "a green field", "red and blue field", "the old red field", "a car in a field"]


def test_equal_scikit_learns_up_to_the_svd():
    """Cosines of the full-rank vectors are those of the weights themselves."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TEXTS).toarray()
    encoder = TfIdf(minimum_count=1, components=5)
    vectors = encoder.encode_learned(TEXTS, encoder.learn(TEXTS))
    _, singular, right = np.linalg.svd(weights)
    expected = weights @ right[:5].T
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-5)
    assert singular[4] > 0.1


def test_words_that_no_training_text_holds_are_lost():
    encoder = TfIdf(minimum_count=1, components=3)
    learned = encoder.learn(TEXTS)
    assert (encoder.encode_learned(["zebra quagga"], learned) == 0).all()
    same, other = encoder.encode_learned(["red car", "red car zebra"], learned)
    np.testing.assert_array_equal(same, other)


def test_a_term_needs_so_many_texts():
    assert set(TfIdf(longest=1, minimum_count=3).learn(TEXTS)["term"]) == {"car", "field", "red", "the"}


def test_texts_without_a_common_term_are_refused():
    with pytest.raises(UserError, match="Lower `minimum_count`"):
        TfIdf(minimum_count=2).learn(["one", "two", "three"])


def test_texts_that_are_all_equal_have_finite_vectors():
    encoder = TfIdf(minimum_count=1)
    learned = encoder.learn(["one film", "one film"])
    assert np.isfinite(encoder.encode_learned(["one film", "two"], learned)).all()


def test_a_feature_keeps_what_it_learned():
    frame = pl.DataFrame({"title": TEXTS})
    text = Text(name="title", encoder=TfIdf(minimum_count=1, components=4))
    state = text.fit(frame)
    later = text.encode(pl.DataFrame({"title": ["the red car", "unheard of", None]}), state)
    first = text.encode(frame, state)
    np.testing.assert_allclose(later.take(later.index_N[:1]).numpy(), first.take(first.index_N[:1]).numpy(), atol=1e-6)
    assert later.table_U[2, -1] == 1
