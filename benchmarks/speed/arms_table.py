"""The arms: what each runs, and its workloads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Arm:
    """A module of `speed.arms`, the peer whose environment it uses (none: Polyrec's), and its options."""

    module: str
    workloads: tuple[str, ...]
    peer: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    checkout: Path | None = None
    """The checkout of Polyrec that the arm runs; None for this one."""


ARMS = {
    "polyrec": Arm("polyrec_arm", ("W1", "W2", "W3", "W4", "W5", "curves")),
    "polyrec-steady": Arm("polyrec_arm", ("W1", "W2", "W3"), options={"steady": True}),
    "polyrec-compiled": Arm("polyrec_arm", ("W1",), options={"steady": True, "compile": True}),
    "polyrec-bfloat16": Arm("polyrec_arm", ("W2",), options={"precision": "bfloat16"}),
    "bare": Arm("bare", ("W1", "W2", "W3", "W4", "W5", "curves")),
    "bare-dense": Arm("bare", ("W2", "curves"), options={"dense": True}),
    "torch-rechub": Arm("rechub", ("W2", "W3", "W4", "W5"), "torch-rechub"),
    "deepctr-torch": Arm("deepctr", ("W2", "W3", "W4", "W5"), "deepctr-torch"),
    "fuxictr": Arm("fuxi", ("W2", "W3", "W4", "W5"), "fuxictr"),
    "fuxictr-ray": Arm("fuxi", ("W5",), "fuxictr", {"ray": True}),
    "nextrec": Arm("nextrec_arm", ("W2", "W3", "W4", "W5"), "nextrec"),
    "nextrec-stream": Arm("nextrec_arm", ("W5",), "nextrec", {"stream": True}),
    "keras": Arm("keras_arm", ("W1",), "keras"),
}
