"""What is done to vectors before anything is learned from them."""

import numpy as np
import pytest
from pydantic import ValidationError

from polyrec.language.post_processing import PostProcessing, effective_rank, mean_cosine, processed_width


@pytest.fixture(scope="module")
def cone() -> np.ndarray:
    """Vectors as a language model's are: alike, with few wide directions."""
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(400, 12)) * 0.5 ** np.arange(12)
    turn, _ = np.linalg.qr(generator.normal(size=(12, 12)))
    return (5 + wide @ turn).astype(np.float32)


def processed(vectors: np.ndarray, **fields: object) -> np.ndarray:
    post = PostProcessing.model_validate(fields)
    state = post.fit(vectors)
    result = post.apply(vectors, state)
    assert result.shape[1] == processed_width(state)
    return result


def test_none_changes_nothing(cone: np.ndarray):
    np.testing.assert_array_equal(processed(cone, method="none"), cone)


def test_scaled_vectors_are_centred_with_one_deviation(cone: np.ndarray):
    result = processed(cone)
    np.testing.assert_allclose(result.mean(0), 0, atol=1e-5)
    assert np.sqrt(np.square(result).mean()) == pytest.approx(1, abs=1e-5)


def test_components_keep_distances_and_come_widest_first(cone: np.ndarray):
    scaled, result = processed(cone), processed(cone, method="components")
    np.testing.assert_allclose(
        np.linalg.norm(result[1:] - result[0], axis=1), np.linalg.norm(scaled[1:] - scaled[0], axis=1), rtol=1e-4
    )
    assert (np.diff(result.std(0)) < 1e-6).all()
    np.testing.assert_allclose(processed(cone, method="components", width=3), result[:, :3], atol=1e-5)


def test_components_equal_those_of_scikit_learn_up_to_sign(cone: np.ndarray):
    from sklearn.decomposition import PCA

    expected = PCA(4, svd_solver="full").fit_transform(cone.astype(np.float64))
    scale = np.sqrt(np.square(cone - cone.mean(0)).mean())
    np.testing.assert_allclose(np.abs(processed(cone, method="components", width=4) * scale), np.abs(expected), atol=1e-3)


def test_whitened_vectors_have_unit_covariance(cone: np.ndarray):
    result = processed(cone, method="whiten", ridge=0, width=8)
    np.testing.assert_allclose(np.cov(result.T, bias=True), np.eye(8), atol=1e-3)


def test_a_ridge_keeps_noise_small(cone: np.ndarray):
    deviation = processed(cone, method="whiten", ridge=0.01).std(0)
    assert deviation[0] > 0.99 > 0.1 > deviation[-1]


def test_a_normalised_vector_has_length_one_and_a_zero_stays_zero(cone: np.ndarray):
    post = PostProcessing(method="whiten", normalise=True)
    state = post.fit(cone)
    np.testing.assert_allclose(np.linalg.norm(post.apply(cone, state), axis=1), 1, atol=1e-5)
    assert (post.apply(state["mean"].to_numpy()[None].astype(np.float64), state) == 0).all()


@pytest.mark.parametrize("method", ["none", "scale", "components", "whiten"])
def test_vectors_that_are_all_equal_stay_finite(method: str):
    result = processed(np.full((5, 4), 3.0, dtype=np.float32), method=method)
    assert np.isfinite(result).all()


def test_a_width_without_components_is_refused():
    with pytest.raises(ValidationError, match="use components or whiten"):
        PostProcessing(width=3)


def test_mean_cosine_is_that_of_all_pairs(cone: np.ndarray):
    unit = cone / np.linalg.norm(cone, axis=1, keepdims=True)
    pairs = unit @ unit.T
    expected = pairs[~np.eye(len(cone), dtype=bool)].mean()
    assert mean_cosine(cone) == pytest.approx(expected, abs=1e-5)
    assert expected > 0.9 > 0.1 > abs(mean_cosine(processed(cone)))


def test_effective_rank_counts_directions_in_use():
    equal = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(equal) == pytest.approx(6)
    assert effective_rank(equal[:, :1]) == pytest.approx(1)
    assert effective_rank(np.ones((4, 3))) == pytest.approx(1)


def test_whitening_raises_the_effective_rank(cone: np.ndarray):
    assert effective_rank(cone) < 5 < 9 < effective_rank(processed(cone, method="whiten"))
