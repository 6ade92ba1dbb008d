"""Small convex problems over the cone of the task gradients, solved exactly for the few tasks of a model.

Shape letters: T tasks. All arrays are float64: a T by T system takes microseconds, and the results are compared with zero.
"""

from __future__ import annotations

import numpy as np

NOISE = 1e-7
"""Minimum eigenvalue of the cosine matrix: the error of float32 at zero."""


def cosines(gramian_TT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines (T, T) between nonzero gradients, with eigenvalues of at least `NOISE`, and the norms (T,).

    Problems stated in cosines are well scaled for losses of any scale. They have a unique solution even for linearly dependent
    gradients: approximately the most uniform of all optimal ones.
    """
    norm_T = np.sqrt(np.diagonal(gramian_TT))
    values_T, vectors_TT = np.linalg.eigh((gramian_TT + gramian_TT.T) / 2 / np.outer(norm_T, norm_T))
    return (vectors_TT * values_T.clip(NOISE)) @ vectors_TT.T, norm_T


def nonnegative(matrix_TT: np.ndarray, pull_T: np.ndarray) -> np.ndarray:
    """Return `argmin_{x >= 0} x' A x / 2 - b' x` for positive definite A, by the active sets of Lawson and Hanson (1974).

    At the solution `(A x)_t = b_t` where x_t > 0 and `(A x)_t >= b_t` where x_t = 0.
    """
    x_T, free_T = np.zeros(len(pull_T)), np.zeros(len(pull_T), dtype=bool)
    enough = 1e-12 * np.abs(pull_T).max()
    for _ in range(10 * len(pull_T)):
        slack_T = np.where(free_T, -np.inf, pull_T - matrix_TT @ x_T)
        if slack_T.max() <= enough:
            break
        free_T[slack_T.argmax()] = True
        while free_T.any():
            goal_T = np.zeros(len(pull_T))
            goal_T[free_T] = np.linalg.solve(matrix_TT[np.ix_(free_T, free_T)], pull_T[free_T])
            below_T = free_T & (goal_T <= 0)
            if not below_T.any():
                x_T = goal_T
                break
            step_T = x_T[below_T] / (x_T[below_T] - goal_T[below_T] + np.finfo(float).tiny)
            x_T = x_T + step_T.min() * (goal_T - x_T)
            free_T &= ~(below_T & (x_T <= x_T[below_T].min() + enough))
            x_T = np.where(free_T, x_T, 0.0)
    return x_T


def smallest_mixture(gramian_TT: np.ndarray) -> np.ndarray:
    """Return `argmin w' G w` over weights w >= 0 that sum to 1: the shortest convex combination of the gradients."""
    cosine_TT, norm_T = cosines(gramian_TT)
    w_T = nonnegative(cosine_TT, norm_T.min() / norm_T) / norm_T
    return w_T / w_T.sum()


def into_dual_cone(gramian_TT: np.ndarray, weights_NT: np.ndarray) -> np.ndarray:
    """Return for each row u `argmin v' G v` over v >= u: the combination nearest to that of u that conflicts with no gradient.

    This is the dual form of the projection of `J' u` on the dual cone of the gradients J (Quinton and Rey, 2024).
    """
    cosine_TT, norm_T = cosines(gramian_TT)
    return np.stack([u_T + nonnegative(cosine_TT, -cosine_TT @ (norm_T * u_T)) / norm_T for u_T in weights_NT])
