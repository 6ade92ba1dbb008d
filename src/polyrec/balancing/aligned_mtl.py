"""AlignedMTL: gradients rotated and scaled until they are orthogonal and of one length. Shape letters: H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import NOISE


class AlignedMTL(Balancer):
    """Mean of the aligned gradients `B J`, `B = sigma V S^-1 V'` for `G = V S^2 V'` (Senushkin et al., CVPR 2023).

    B is the nearest transformation that gives the gradients equal singular values sigma. `w = B 1 / T`: the weights' sum has
    no fixed value. Where gradients are dependent B is 1 on the combinations that cancel, which changes no step but keeps
    towers learning; a weight below zero, which would train a tower uphill, counts as 0.
    """

    examples = ({}, {"scale": "rmse"})

    scale: Literal["min", "median", "rmse"] = "min"
    """Common singular value: the smallest (the paper's, whose steps shrink as gradients align), median or root mean square."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return AlignedBalance(tasks, self.scale)


class AlignedBalance(GramianBalance):
    """The mean of aligned gradients; it learns nothing."""

    averages = True

    def __init__(self, tasks: Sequence[str], scale: Literal["min", "median", "rmse"]) -> None:
        super().__init__(tasks)
        self.scale = scale

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return alignment(gramian_HH, self.scale).mean(1).clip(0)


def alignment(gramian_HH: np.ndarray, scale: Literal["min", "median", "rmse"]) -> np.ndarray:
    """Return B (H, H), symmetric, such that `B G B` has equal eigenvalues but for those that are zero."""
    values_H, vectors_HH = np.linalg.eigh((gramian_HH + gramian_HH.T) / 2)
    known_H = values_H > NOISE * values_H.max()
    known = values_H[known_H]
    sigma = np.sqrt({"min": known[0], "median": known[(len(known) - 1) // 2], "rmse": known.mean()}[scale])
    stretch_H = np.ones(len(values_H))
    stretch_H[known_H] = sigma / np.sqrt(known)
    return (vectors_HH * stretch_H) @ vectors_HH.T
