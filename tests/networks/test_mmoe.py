"""MMoE: by hand, by a plain loop, and as a shared bottom. Shape letters: B rows, D width of all features together."""

import math

import pytest
import torch

from polyrec import MMoE, SharedBottom

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")


def inputs():
    return torch.randn(9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gives_the_numbers_found_by_hand():
    """Experts x and 3 x at x = 2: 2 and 6; equal gates give 4, gates of 3 to 1 give 3."""
    shared = MMoE(experts=2, hidden=(1,)).build({"age": 1}, ("like", "stars"))
    state = {
        "experts.weights.0": torch.tensor([1.0, 3.0]).view(2, 1, 1),
        "experts.biases.0": torch.zeros(2, 1, 1),
        "gate.weight": torch.tensor([[0.0, 0.0], [math.log(3) / 2, 0.0]]).view(2, 1, 2),
    }
    shared.load_state_dict(state)
    hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
    torch.testing.assert_close(hidden, {"like": torch.tensor([[4.0]]), "stars": torch.tensor([[3.0]])})


def test_is_a_loop_over_tasks_and_experts(build, perceptron):
    shared = build(MMoE(experts=3, hidden=(7, 5)), FIELDS, TASKS)
    x_BD = inputs()
    hidden = shared(x_BD, TASKS)
    for position, task in enumerate(TASKS):
        gate_BE = torch.softmax(x_BD @ shared.gate.weight[position], 1)
        expected = sum(gate_BE[:, [e]] * perceptron(shared.experts, e, x_BD) for e in range(3))
        torch.testing.assert_close(hidden[task], expected)


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("hidden", [(8,), (16, 8, 4)])
def test_with_one_expert_is_a_shared_bottom(build, products: bool, hidden: tuple[int, ...]):
    mixture = build(MMoE(experts=1, hidden=hidden, products=products), FIELDS, TASKS)
    bottom = build(SharedBottom(hidden=hidden, products=products), FIELDS, TASKS)
    learned = mixture.state_dict()
    copied = {}
    for layer, name in enumerate(sorted(name for name in bottom.state_dict() if name.endswith("weight"))):
        copied[name] = learned[f"experts.weights.{layer}"][0].T
        copied[name.replace("weight", "bias")] = learned[f"experts.biases.{layer}"][0, 0]
    bottom.load_state_dict(copied)
    torch.testing.assert_close(mixture(inputs(), TASKS), bottom(inputs(), TASKS))
