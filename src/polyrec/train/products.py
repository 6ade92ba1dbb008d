"""Faster matrix products without a loss of precision, on processors where oneDNN provides them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

LARGE = 2**23
"""Multiplications per step from which oneDNN is faster than MKL."""


@contextmanager
def fastest_products(size: int) -> Iterator[None]:
    """Multiply float32 matrices on the CPU with oneDNN inside the context, if the products stay exact.

    `size` is the number of multiplications per step; in small steps the overhead of oneDNN's calls exceeds the gain.

    Torch uses MKL, which leaves half of the vector width unused on some processors of other makers than Intel. Torch switches
    to oneDNN if factors may be rounded to bfloat16 (`torch.backends.mkldnn.matmul.fp32_precision`), but oneDNN rounds only on
    processors with bfloat16 units (AMX). One test product per process shows whether this processor rounds; if it does, the
    setting is left unchanged.
    """
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # set on the module as an object
    before = setting.fp32_precision
    if before == "none" and size >= LARGE and _are_exact():
        setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


@cache
def _are_exact() -> bool:
    """Whether products stay exact although rounding is allowed; 1 + 2^-10 has no bfloat16 representation."""
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # set on the module as an object
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        products = torch.full((256, 256), 1 + 2**-10) @ torch.eye(256)
    finally:
        setting.fp32_precision = before
    return bool((products == 1 + 2**-10).all())
