"""Exact weighted sums of many numbers per row, bit for bit independent of the position of the row.

The summation order of a matrix product, and with it the last bits, depends on the number of rows. Here numbers and weights are
integer multiples of powers of two, small enough for every partial sum to be an exact double: the order does not matter.

Shape letters: B rows, S numbers per row, U sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DIGITS, _WHOLE, _FRACTION = 53, 4, 20
"""Binary digits of a double, and of a number before and after the binary point."""

MOST = 2.0**_WHOLE
"""Maximum absolute value of a number."""


def rounded(x_BS: Tensor) -> Tensor:
    """Return numbers as doubles, clipped to [-16, 16] and rounded to multiples of 2^-20, which float32 represents exactly."""
    return x_BS.clamp(-MOST, MOST).mul_(2.0**_FRACTION).round_().mul_(2.0**-_FRACTION).to(torch.float64)


def rounded_weights(weight_US: Tensor) -> Tensor:
    """Return weights such that sums of `rounded` numbers are exact.

    The weights of each sum are rounded to multiples of a separate power of two; for 256 numbers the error is below 2^-21 of the
    sum's largest weight.
    """
    digits = _DIGITS - _WHOLE - _FRACTION - math.ceil(math.log2(max(weight_US.shape[1], 1)))
    assert digits > 0, "a row does not have hundreds of millions of numbers"
    _, exponent_U1 = torch.frexp(weight_US.abs().amax(1, keepdim=True))
    step_U1 = torch.ldexp(torch.ones_like(weight_US[:, :1]), exponent_U1 - digits)
    return torch.round(weight_US / step_U1) * step_U1
