"""Faster matrix products of the same exactness, where the machine has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

LARGE = 2**23
"""Multiplications of a step from which on oneDNN is the faster."""


@contextmanager
def fastest_products(size: int) -> Iterator[None]:
    """Let torch multiply float32 matrices on the CPU by oneDNN for the time being, where that loses nothing.

    `size` is the number of multiplications of a step: in few, oneDNN's calls cost more than they gain.

    Torch multiplies by MKL, which leaves half the width of the vector units unused on some processors that are not Intel's.
    It takes oneDNN instead where factors may be rounded to bfloat16 (`torch.backends.mkldnn.matmul.fp32_precision`); but
    oneDNN rounds them only on processors with units for that (AMX). Whether this one rounds is tried once, and where it does
    everything stays as it was.
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
    """Whether products that may round are products that do not: 1 + 2^-10 is no bfloat16."""
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # set on the module as an object
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        products = torch.full((256, 256), 1 + 2**-10) @ torch.eye(256)
    finally:
        setting.fp32_precision = before
    return bool((products == 1 + 2**-10).all())
