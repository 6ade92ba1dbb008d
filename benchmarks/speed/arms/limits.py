"""The rates of this machine for the roofline: float32 products of the model's shapes, and a copy, measured separately.

Products are timed with torch's default and with Polyrec's choice of library, and the faster counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from polyrec.train.allocation import kept_memory
from polyrec.train.products import fastest_products
from speed.clock import Clock
from speed.workloads import shape_of, size_of

ROWS = 1024
"""Rows of the products: for larger blocks, memory allocation costs more than the products gain."""

COPIED = 256 * 2**20
"""Bytes of the copy, far more than any CPU cache."""


def _seconds(work: Callable[[], object], least: float = 0.5) -> float:
    """Return the CPU seconds of a call: the best of three runs, each of which repeats it for at least `least` seconds."""
    work()
    best = float("inf")
    for _ in range(3):
        calls, spent = 0, 0.0
        while spent < least:
            with Clock() as clock:
                for _ in range(4):
                    work()
            calls, spent = calls + 4, spent + clock.cpu_seconds
        best = min(best, spent / calls)
    return best


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return floating-point operations and bytes per CPU-second."""
    torch.set_num_threads(job["threads"])
    shape, size, batch = shape_of(job), size_of(job), min(job["batch"], ROWS)
    width = len(shape.vocabularies) * size.width + shape.numbers
    first, second = size.hidden[:2]
    x, w, g = torch.randn(batch, width), torch.randn(width, size.experts * first), torch.randn(batch, size.experts * first)
    h, v, k = (torch.randn(size.experts, *sides) for sides in ((batch, first), (first, second), (batch, second)))

    def products() -> None:
        x @ w, x.T @ g, g @ w.T
        h @ v, h.transpose(1, 2) @ k, k @ v.transpose(1, 2)

    source, target = torch.ones(COPIED // 4), torch.empty(COPIED // 4)
    done = 2 * 3 * batch * size.experts * first * (width + second)
    plain = _seconds(products)
    with fastest_products(done), kept_memory():
        fastest = _seconds(products)
    return {
        "flops_per_second": done / min(plain, fastest),
        "bytes_per_second": 2 * COPIED / _seconds(lambda: target.copy_(source)),
    }
