"""Networks away from their start, and the one thing that textbook networks are made of."""

from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from polyrec.layers.experts import Experts
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork

Build = Callable[..., SharedNetwork]
Perceptron = Callable[[Experts, int, Tensor], Tensor]


@pytest.fixture
def build() -> Build:
    """Return what builds a network in double precision away from its start, where what starts at zero would hide mistakes."""

    def built(network: Network, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        generator = torch.Generator().manual_seed(0)
        shared = network.build(fields, tasks).double().eval()
        with torch.no_grad():
            for parameter in shared.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
            for buffer in shared.buffers():
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
        return shared

    return built


@pytest.fixture
def perceptron() -> Perceptron:
    """Return what evaluates one of several batched experts as a plain perceptron."""

    def evaluated(experts: Experts, number: int, x_BD: Tensor) -> Tensor:
        for weight_EDH, bias_E1H in zip(experts.weights, experts.biases, strict=True):
            x_BD = (x_BD @ weight_EDH[number] + bias_E1H[number]).clamp(min=0)
        return x_BD

    return evaluated
