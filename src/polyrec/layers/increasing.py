"""Numbers that increase by construction. Shape letters: B rows, C numbers per row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_STEP = 1e-7


def increasing(raw: Tensor) -> Tensor:
    """Map unconstrained numbers, (B, C) or (B,) for C = 1, to increasing ones (B, C): `z_1 = r_1`, `z_c = z_{c-1} +
    softplus(r_c)`."""
    raw_BC = raw[:, None] if raw.ndim == 1 else raw
    return torch.cat([raw_BC[:, :1], functional.softplus(raw_BC[:, 1:])], 1).cumsum(1)


def raw_of_increasing(values_C: Tensor) -> Tensor:
    """Return numbers, (1, C) or (1,) for C = 1, that `increasing` maps to these values; equal values are separated by 1e-7."""
    step_C = values_C.diff().clamp(min=_LEAST_STEP)
    raw_C = torch.cat([values_C[:1], step_C + torch.log(-torch.expm1(-step_C))])
    return raw_C if len(raw_C) == 1 else raw_C[None]
