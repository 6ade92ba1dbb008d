"""Artifacts of earlier formats, as this version reads them.

Format 3 named the weights of histories, graphs and joints by three containers; since format 4 they are in one, `derived`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from polyrec.core.names import FORMAT

READABLE_FORMATS = (3, FORMAT)

_CONTAINER = re.compile(r"^(copies\.\d+)\.(?:poolings|graphs|joints)\.")


def with_present_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of any readable format under the names of the present one, in their order."""
    return {_CONTAINER.sub(r"\1.derived.", name): tensor for name, tensor in weights.items()}
