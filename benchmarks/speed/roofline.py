"""The upper bound of a core: matrix products at the rate of products alone, tables at the rate of a copy alone."""

from __future__ import annotations

import itertools
from typing import Any

from speed.workloads import LONGEST, Shape, Size

PASSES = 3
"""Products of a layer: forward, by the weights, by the input."""
TOUCHES = 10
"""Times that a looked-up row is read or written: gathered (2), its gradient (2), two moments (4), the weights (2)."""


def flops(shape: Shape, size: Size) -> int:
    """Return the floating-point operations of a training step per sample."""
    width = (len(shape.vocabularies) + bool(shape.bag)) * size.width + shape.numbers
    layers = [width * size.experts * size.hidden[0]]
    layers += [size.experts * first * second for first, second in itertools.pairwise(size.hidden)]
    layers.append(shape.tasks * size.experts * (width + size.hidden[-1]))
    layers += [shape.tasks * first * second for first, second in itertools.pairwise((size.hidden[-1], *size.tower, 1))]
    return 2 * PASSES * sum(layers)


def traffic(shape: Shape, size: Size) -> int:
    """Return the bytes of tables that a training step moves per sample."""
    rows = len(shape.vocabularies) + ((1 + LONGEST) // 2 if shape.bag else 0)
    return rows * size.width * 4 * TOUCHES


def roofline(shape: Shape, size: Size, measured: dict[str, Any]) -> dict[str, float]:
    """Return the samples per CPU-second of a core that does nothing else, and the quantities it is computed from."""
    seconds = flops(shape, size) / measured["flops_per_second"] + traffic(shape, size) / measured["bytes_per_second"]
    counts = {"flops_per_sample": flops(shape, size), "bytes_per_sample": traffic(shape, size)}
    rates = {name: measured[name] for name in ("flops_per_second", "bytes_per_second")}
    return {"samples_per_cpu_second": 1 / seconds, **counts, **rates}
