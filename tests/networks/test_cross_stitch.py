"""CrossStitch: by hand, by a plain loop, and as tasks apart. Shape letters: B rows, D width of all features together."""

import torch

from polyrec.networks.cross_stitch import CrossStitch

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")


def inputs():
    return torch.randn(9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gives_the_numbers_found_by_hand():
    """Layers x and 3 x at x = 2: 2 and 6, of which each task keeps .9 and gets .1 of the other's."""
    shared = CrossStitch(hidden=(1,)).build({"age": 1}, ("like", "stars"))
    state = shared.state_dict() | {
        "own.weights.0": torch.tensor([1.0, 3.0]).view(2, 1, 1),
        "own.biases.0": torch.zeros(2, 1, 1),
    }
    shared.load_state_dict(state)
    hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
    torch.testing.assert_close(hidden, {"like": torch.tensor([[2.4]]), "stars": torch.tensor([[5.6]])})


def test_is_a_loop_over_layers_and_tasks(build):
    shared = build(CrossStitch(hidden=(7, 5)), FIELDS, TASKS)
    x_BD = inputs()
    states = [x_BD] * 3
    for layer in range(2):
        weight, bias, stitch = shared.own.weights[layer], shared.own.biases[layer], shared.stitches[layer]
        raised = [(state @ weight[t] + bias[t]).clamp(min=0) for t, state in enumerate(states)]
        states = [sum(stitch[t, u] * raised[u] for u in range(3)) for t in range(3)]
    torch.testing.assert_close(shared(x_BD, TASKS), dict(zip(TASKS, states, strict=True)))


def test_with_stitches_at_the_identity_is_a_perceptron_a_task(build, perceptron):
    shared = build(CrossStitch(hidden=(7, 5, 4)), FIELDS, TASKS)
    with torch.no_grad():
        for stitch in shared.stitches:
            stitch.copy_(torch.eye(3))
    hidden = shared(inputs(), TASKS)
    for position, task in enumerate(TASKS):
        torch.testing.assert_close(hidden[task], perceptron(shared.own, position, inputs()))


def test_start_hands_on_as_much_as_comes_in():
    for count in (1, 2, 3):
        for stitch in CrossStitch().build(FIELDS, TASKS[:count]).stitches:
            torch.testing.assert_close(stitch.sum(1), torch.ones(count))
            assert (stitch.diagonal() >= 0.9).all()
