"""Item means, shrunk."""

import numpy as np

from polyrec.evaluate.baselines import item_means


def test_by_hand():
    means = item_means(np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1]), 3)
    np.testing.assert_allclose(means, [(2 + 5) / 12, 5 / 12, 0.5])


def test_of_several_labels():
    targets = np.array([[1, 0], [0, 1], [1, 1]])
    means = item_means(targets, np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(means[1], targets.mean(0))
    np.testing.assert_allclose(means[:, 0], item_means(targets[:, 0], np.array([0, 0, 2]), 3))


def test_an_item_with_many_rows_keeps_its_own_mean():
    means = item_means(np.r_[np.ones(100_000), np.zeros(100_000)], np.repeat([0, 1], 100_000), 2)
    np.testing.assert_allclose(means, [1, 0], atol=1e-4)
