"""Weighted sums of many numbers a row that are exact in double precision, and so the same bits wherever a row stands.

The order in which a product of matrices adds up depends on how many rows it has, and with it the last bits. Here numbers and
weights are whole multiples of powers of two, small enough for every partial sum to be a double: then no order matters.

Shape letters: B rows, S numbers of a row, U sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DIGITS, _WHOLE, _FRACTION = 53, 4, 20
"""Binary digits of a double; of a number before and behind the point."""

MOST = 2.0**_WHOLE
"""The largest size of a number."""


def rounded(x_BS: Tensor) -> Tensor:
    """Return numbers in double precision, cut to [-16, 16] and rounded to multiples of 2^-20; single precision holds these,
    too."""
    return x_BS.clamp(-MOST, MOST).mul_(2.0**_FRACTION).round_().mul_(2.0**-_FRACTION).to(torch.float64)


def rounded_weights(weight_US: Tensor) -> Tensor:
    """Return the weights of each sum rounded to multiples of a power of two of its own, such that sums of `rounded` numbers are
    exact; for 256 numbers the error is below 2^-21 of the sum's largest weight."""
    digits = _DIGITS - _WHOLE - _FRACTION - math.ceil(math.log2(max(weight_US.shape[1], 1)))
    assert digits > 0, "a row has no hundreds of millions of numbers"
    _, exponent_U1 = torch.frexp(weight_US.abs().amax(1, keepdim=True))
    step_U1 = torch.ldexp(torch.ones_like(weight_US[:, :1]), exponent_U1 - digits)
    return torch.round(weight_US / step_U1) * step_U1
