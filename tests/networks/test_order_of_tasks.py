"""Networks for the same tasks in another order are the same, once the weights of tasks stand in that order."""

import re
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from polyrec import MMoE, SharedBottom, kinds
from polyrec.networks.adatt import AdaTT
from polyrec.networks.cgc import CGC
from polyrec.networks.cross_stitch import CrossStitch
from polyrec.networks.home import HoME
from polyrec.networks.network import Network
from polyrec.networks.pepnet import PEPNet
from polyrec.networks.ple import PLE
from polyrec.networks.stem import STEM

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")
TURNED = ("seconds", "like", "stars")

CASES = [
    (SharedBottom(hidden=(7, 5)), {}),
    (MMoE(experts=4, hidden=(7, 5)), {r"^gate": {0: 1}}),
    (CrossStitch(hidden=(7, 5)), {r"^own": {0: 1}, r"^stitches": {0: 1, 1: 1}}),
    (CGC(own=2, shared=1, hidden=(7, 5)), {r"\.own": {0: 2}, r"\.gate": {0: 1}}),
    (PLE(levels=2, own=2, shared=1, hidden=(7, 5)), {r"\.own": {0: 2}, r"\.gate": {0: 1}, r"\.shared_gate": {2: 2}}),
    (
        AdaTT(levels=2, own=2, shared=1, hidden=(7, 5)),
        {r"\.own": {0: 2}, r"\.gate": {0: 1, 2: 2}, r"\.residual": {0: 1}, r"\.shared_gate": {2: 2}},
    ),
    (STEM(own=2, shared=1, hidden=(7, 5)), {r"^own": {0: 2}, r"^gate": {0: 1, 2: 2}}),
    (
        HoME(groups=(("stars",),), own=2, rank=2, hidden=(7, 5)),
        {r"^own\.": {0: 2}, r"^(gate|own_self)\.": {0: 1}},
    ),
    (PEPNet(gate=3, hidden=(7, 5)), {r"^(own|gate_weights|gate_biases)": {0: 1}}),
]
"""Networks, and by pattern of a weight's name the dimensions that tasks lie along, with how many entries each has there."""


def turned(weight: Tensor, dimension: int, each: int, order: Sequence[int]) -> Tensor:
    """Return a weight with the entries of tasks in another order; what follows them stays."""
    along = [task * each + entry for task in order for entry in range(each)]
    along += range(len(along), weight.shape[dimension])
    return weight.index_select(dimension, torch.tensor(along))


def test_every_kind_of_network_is_tried():
    package = {name for name, kind in kinds("networks").items() if kind.__module__.startswith("polyrec.")}
    assert {type(network).__name__ for network, _ in CASES} == package


@pytest.mark.parametrize(
    ("network", "layout"), CASES, ids=lambda case: type(case).__name__ if isinstance(case, Network) else ""
)
def test_matters_nothing(build, network: Network, layout: dict[str, dict[int, int]]):
    there, back = build(network, FIELDS, TASKS), build(network, FIELDS, TURNED)
    order = [TASKS.index(task) for task in TURNED]
    state = there.state_dict()
    for pattern, dimensions in layout.items():
        names = [name for name in state if re.search(pattern, name)]
        assert names
        for name in names:
            for dimension, each in dimensions.items():
                state[name] = turned(state[name], dimension, each, order)
    back.load_state_dict(state)
    copies = torch.randn(network.copies(TASKS), 9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shifted = torch.cat([copies[:1], copies[1:][order]]) if len(copies) > 1 else copies
    x_BD, y_BD = torch.cat([*copies], 1), torch.cat([*shifted], 1)
    torch.testing.assert_close(back(y_BD, TASKS), there(x_BD, TASKS))
    for task, gate_BE in back.gates(y_BD, TASKS).items():
        expected_BE = there.gates(x_BD, TASKS)[task]
        of_all = next((each for pattern, each in layout.items() if pattern.endswith("gate") and {0, 2} == set(each)), None)
        torch.testing.assert_close(gate_BE, turned(expected_BE, 1, of_all[2], order) if of_all else expected_BE)
