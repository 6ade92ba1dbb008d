"""Refusal of features that cannot be exported."""

from __future__ import annotations

from collections.abc import Sequence

from polyrec.core.errors import UserError
from polyrec.features.feature import Feature


def refuse_obstacles(features: Sequence[Feature], action: str) -> None:
    """Raise `UserError` for the first feature that cannot be exported; `action` names the refused operation."""
    by_name = {feature.name: feature for feature in features}
    for feature in features:
        obstacle = feature.export_obstacle(by_name)
        if obstacle is not None:
            thing = f"{action} of the feature {feature.name!r}"
            raise UserError(thing, expected=obstacle.expected, found=obstacle.found, remedy=obstacle.remedy)
