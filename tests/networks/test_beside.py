"""A network over rows that agree in some of their features."""

from concurrent.futures import ThreadPoolExecutor

import torch

from polyrec.networks.beside import Beside
from polyrec.networks.mmoe import MMoE
from polyrec.networks.shared_bottom import SharedBottom

TASKS = ("like", "stars")


def test_the_first_layer_by_hand():
    """Of x = (own 5, fixed 2) with W = (3, -7) and b = 1, relu(W x + b) is relu(15 - 14 + 1) = 2."""
    network = SharedBottom(hidden=(1,)).build({"item": 1, "user": 1}, TASKS)
    (weight,) = network.readers()
    with torch.no_grad():
        weight.copy_(torch.tensor([[3.0, -7.0]]))
        network.last_shared()[1].fill_(1.0)
    beside = Beside(network, torch.tensor([0]), torch.tensor([1]), torch.ones(2))
    with torch.inference_mode():
        assert beside(torch.tensor([2.0]), torch.tensor([[5.0]]), TASKS)["like"].item() == 2.0


def test_the_network_itself_stays_as_it_is():
    network = MMoE(experts=2, hidden=(8,)).build({"item": 3, "user": 3}, TASKS).eval()
    before = {name: (id(value), value.clone()) for name, value in network.state_dict(keep_vars=True).items()}
    beside = Beside(network, torch.arange(3), torch.arange(3, 6), torch.ones(6))
    with torch.inference_mode():
        beside(torch.randn(3), torch.randn(5, 3), TASKS)
    for name, value in network.state_dict(keep_vars=True).items():
        assert id(value) == before[name][0]
        assert torch.equal(value, before[name][1])


def test_threads_do_not_disturb_one_another():
    network = MMoE(experts=4, hidden=(32, 16)).build({"item": 8, "user": 8}, TASKS).eval()
    beside, varying_BO = Beside(network, torch.arange(8), torch.arange(8, 16), torch.ones(16)), torch.randn(200, 8)

    def ask(user_F: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return beside(user_F, varying_BO, TASKS)["like"].clone()

    users = [*torch.randn(64, 8)]
    expected = [ask(user_F) for user_F in users]
    with ThreadPoolExecutor(8) as pool:
        for state, expected_state in zip(pool.map(ask, users * 4), expected * 4, strict=True):
            assert torch.equal(state, expected_state)
