"""Conversion of artifacts of earlier formats.

Format 3 has three containers for the weights of histories, graphs and joints; format 4 has one, `derived`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from polyrec.core.names import FORMAT

READABLE_FORMATS = (3, FORMAT)

_CONTAINER = re.compile(r"^(copies\.\d+)\.(?:poolings|graphs|joints)\.")


def with_present_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of any readable format under their names in the present format, in the same order."""
    return {_CONTAINER.sub(r"\1.derived.", name): tensor for name, tensor in weights.items()}
