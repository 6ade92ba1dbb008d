"""Sums of many numbers a row: exact, and so the same bits in every order and beside any other rows."""

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec.fusion.exact import MOST, rounded, rounded_weights


def drawn(rows: int, numbers: int, units: int, seed: int, size: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return numbers, some of them far too large, and weights of units of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, numbers, generator=generator, dtype=torch.float64) * 5
    sizes = size * 10.0 ** torch.arange(units)[:, None]
    return x, torch.randn(units, numbers, generator=generator, dtype=torch.float64) * sizes


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), numbers=st.sampled_from([1, 2, 3, 64, 257]), size=st.sampled_from([1e-9, 1.0, 1e9]))
def test_a_product_of_matrices_is_the_sum_of_fractions(seed: int, numbers: int, size: float):
    x, weights = drawn(3, numbers, 3, seed, size)
    x, weights = rounded(x), rounded_weights(weights)
    for row, sums in enumerate(x @ weights.T):
        for unit, value in enumerate(sums.tolist()):
            pairs = zip(x[row].tolist(), weights[unit].tolist(), strict=True)
            assert Fraction(value) == sum(Fraction(a) * Fraction(b) for a, b in pairs)


def test_the_largest_numbers_and_weights_are_exact_too():
    numbers = 4096
    x = torch.full((1, numbers), -1e9).double()
    weights = rounded_weights(torch.full((1, numbers), 1 - 2.0**-53, dtype=torch.float64))
    assert (rounded(x) @ weights.T).item() == -MOST * numbers * weights[0, 0].item()


def test_rows_have_the_same_bits_in_any_batch():
    x, weights = drawn(301, 192, 8, 0)
    x, weights = rounded(x), rounded_weights(weights)
    whole = x @ weights.T
    for size in (1, 2, 7, 64, 300):
        assert torch.equal(torch.cat([piece @ weights.T for piece in x.split(size)]), whole)
    order = torch.randperm(192, generator=torch.Generator().manual_seed(1))
    assert torch.equal(x[:, order] @ weights[:, order].T, whole)


def test_rounding_is_far_below_what_is_learned():
    x, weights = drawn(100, 256, 4, 2)
    near = rounded_weights(weights)
    assert ((near - weights).abs() <= 2.0**-21 * weights.abs().amax(1, keepdim=True)).all()
    small = x[x.abs() < MOST]
    assert ((rounded(x)[x.abs() < MOST] - small).abs() <= 2.0**-21).all()
    assert rounded(x).abs().max() == MOST


def test_weights_of_zero_stay_and_what_is_no_number_stays_none():
    assert rounded_weights(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    assert rounded(torch.tensor([[float("nan"), float("inf")]])).isnan().tolist() == [[True, False]]
