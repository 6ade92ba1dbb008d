"""PEPNet: by hand, by a plain loop, and as plain perceptrons. Shape letters: B rows, D width of all features together."""

import math

import pytest
import torch
from pydantic import ValidationError

from polyrec import UserError
from polyrec.networks.pepnet import PEPNet

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")


def inputs():
    return torch.randn(9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gives_the_numbers_found_by_hand():
    """The gate 2 * 3 / 4 makes 2 a 3, of which the layers make 3 and 9, and like's gate, 2 / 4, one and a half."""
    shared = PEPNet(gate=1, hidden=(1,)).build({"age": 1}, ("like", "stars"))
    state = shared.state_dict() | {
        "own.weights.0": torch.tensor([1.0, 3.0]).view(2, 1, 1),
        "own.biases.0": torch.zeros(2, 1, 1),
        "input_gate.bias": torch.tensor([math.log(3)]),
        "gate_biases.0": torch.tensor([-math.log(3), 0.0]).view(2, 1, 1),
    }
    shared.load_state_dict(state)
    hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
    torch.testing.assert_close(hidden, {"like": torch.tensor([[1.5]]), "stars": torch.tensor([[9.0]])})


@pytest.mark.parametrize("personal", [(), ("user_id",), ("city", "user_id")])
def test_is_a_loop_over_layers_and_tasks(build, perceptron, personal: tuple[str, ...]):
    """What a gate reads beside the prior is held still in the textbook too: the slopes agree as well."""
    shared = build(PEPNet(personal=personal, gate=3, hidden=(7, 5)), FIELDS, TASKS)
    x_BD = inputs().requires_grad_()
    parts = dict(zip(FIELDS, x_BD.split([*FIELDS.values()], 1), strict=True))
    prior = torch.cat([parts[name] for name in personal or FIELDS], 1)
    below = shared.input_below(torch.cat([prior, x_BD.detach()], 1)).clamp(min=0)
    scaled_BD = 2 * shared.input_gate(below).sigmoid() * x_BD
    for position, task in enumerate(TASKS):
        state = scaled_BD
        for layer in range(2):
            state = (state @ shared.own.weights[layer][position] + shared.own.biases[layer][position]).clamp(min=0)
            below = perceptron(shared.gates_below, layer, torch.cat([prior, scaled_BD.detach()], 1))
            raw = below @ shared.gate_weights[layer][position] + shared.gate_biases[layer][position]
            state = state * 2 * raw.sigmoid()
        actual = shared(x_BD, TASKS)[task]
        torch.testing.assert_close(actual, state)
        slopes = [torch.autograd.grad(each.sum(), x_BD, retain_graph=True) for each in (actual, state)]
        torch.testing.assert_close(*slopes)


def test_starts_as_a_plain_perceptron_a_task(perceptron):
    shared = PEPNet(personal=("user_id",), hidden=(7, 5)).build(FIELDS, TASKS)
    hidden = shared(inputs().float(), TASKS)
    for position, task in enumerate(TASKS):
        torch.testing.assert_close(hidden[task], perceptron(shared.own, position, inputs().float()))


def test_gates_teach_the_prior_alone(build):
    """With what the gates scale held still, the inputs learn only where the prior stands."""
    shared = build(PEPNet(personal=("item_id",), gate=3, hidden=(7, 5)), FIELDS, TASKS)
    with torch.no_grad():
        for weight in shared.own.weights:
            weight.zero_()
    x_BD = inputs().requires_grad_()
    (slope_BD,) = torch.autograd.grad(sum(state.sum() for state in shared(x_BD, TASKS).values()), x_BD)
    reached = [bool(part.any()) for part in slope_BD.split([*FIELDS.values()], 1)]
    assert reached == [False, True, False]


def test_has_no_shares(build):
    assert build(PEPNet(), FIELDS, TASKS).gates(inputs(), TASKS) == {}


def test_refuses_a_feature_that_is_not_there():
    with pytest.raises(UserError, match=r"personal feature 'user': expected a feature's name.*Did you mean 'user_id'\?"):
        PEPNet(personal=("user",)).build(FIELDS, TASKS)


def test_refuses_a_feature_named_twice():
    with pytest.raises(ValidationError, match="'city' is named twice"):
        PEPNet(personal=("city", "user_id", "city"))
