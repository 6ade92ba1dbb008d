"""STEM: by hand, by a plain loop, and where it learns. Shape letters: B rows, D width of all features together, S copies."""

import math

import pytest
import torch

from polyrec.networks.cgc import CGC
from polyrec.networks.stem import STEM

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
WIDTH = sum(FIELDS.values())
TASKS = ("like", "stars", "seconds")


def inputs():
    return torch.randn(9, 4 * WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_reads_one_copy_for_all_tasks_and_one_for_each():
    assert STEM().copies(TASKS) == 4
    assert STEM().copies(TASKS[:1]) == 2


def test_gives_the_numbers_found_by_hand():
    """The copies 1, 2 and 3 give the experts 4, 2 and 6; like's gate, at 1 + 2, has twice its own, stars' is equal."""
    shared = STEM(hidden=(1,)).build({"age": 1}, ("like", "stars"))
    state = {
        "own.weights.0": torch.tensor([1.0, 2.0]).view(2, 1, 1),
        "own.biases.0": torch.zeros(2, 1, 1),
        "shared.weights.0": torch.tensor(4.0).view(1, 1, 1),
        "shared.biases.0": torch.zeros(1, 1, 1),
        "gate.weight": torch.tensor([[math.log(2) / 3, 0.0, 0.0], [0.0, 0.0, 0.0]]).view(2, 1, 3),
    }
    shared.load_state_dict(state)
    hidden = shared(torch.tensor([[1.0, 2.0, 3.0]]), ("like", "stars"))
    torch.testing.assert_close(hidden, {"like": torch.tensor([[3.5]]), "stars": torch.tensor([[4.0]])})


@pytest.mark.parametrize("per_task", [1, 3])
def test_is_a_loop_over_tasks_and_experts(build, perceptron, per_task: int):
    shared = build(STEM(own=per_task, shared=2, hidden=(7, 5)), FIELDS, TASKS)
    common_BD, *copies = inputs().split(WIDTH, 1)
    every = [perceptron(shared.own, per_task * t + e, copies[t]) for t in range(3) for e in range(per_task)]
    every += [perceptron(shared.shared, e, common_BD) for e in range(2)]
    hidden, gates = shared(inputs(), TASKS), shared.gates(inputs(), TASKS)
    for position, task in enumerate(TASKS):
        gate_BE = torch.softmax((copies[position] + common_BD) @ shared.gate.weight[position], 1)
        torch.testing.assert_close(gates[task], gate_BE)
        torch.testing.assert_close(hidden[task], sum(gate_BE[:, [e]] * state for e, state in enumerate(every)))


def test_learns_from_a_task_in_its_own_and_the_shared_tables_and_experts_alone(build):
    shared = build(STEM(own=2, shared=2, hidden=(7, 5)), FIELDS, TASKS)
    for position, task in enumerate(TASKS):
        x_BD = inputs().requires_grad_()
        learned = [x_BD, shared.own.weights[0], shared.shared.weights[0], shared.gate.weight]
        in_tables, in_own, in_shared, in_gates = torch.autograd.grad(shared(x_BD, TASKS)[task].sum(), learned)
        alone = [position == other for other in range(3)]
        assert [bool(part.any()) for part in in_tables.chunk(4, 1)] == [True, *alone]
        assert [bool(part.any()) for part in in_own.chunk(3)] == alone
        assert in_shared.any()
        assert [bool(part.any()) for part in in_gates] == alone


def test_hears_the_experts_of_every_task(build):
    shared = build(STEM(own=2, hidden=(7, 5)), FIELDS, TASKS)
    whole = shared(inputs(), TASKS)
    for copy in range(4):
        other_BD = inputs()
        other_BD[:, copy * WIDTH : (copy + 1) * WIDTH] = 0
        assert all(not torch.allclose(state, whole[task]) for task, state in shared(other_BD, TASKS).items())


def test_teaches_what_plain_gradients_of_its_own_experts_would(build):
    """The slope in a task's own experts is the one that it would have were nothing stopped."""
    shared = build(STEM(own=2, shared=2, hidden=(7, 5)), FIELDS, TASKS)
    copies = inputs().split(WIDTH, 1)
    task_EBH, common_EBH = shared.own(torch.stack(copies[1:])), shared.shared(copies[0])
    for position, task in enumerate(TASKS):
        gate_BE = shared.gates(inputs(), [task])[task]
        plain = torch.einsum("be,ebh->bh", gate_BE, torch.cat([task_EBH, common_EBH]))
        (expected,) = torch.autograd.grad(plain.sin().sum(), [shared.own.weights[1]], retain_graph=True)
        (slope,) = torch.autograd.grad(shared(inputs(), [task])[task].sin().sum(), [shared.own.weights[1]])
        torch.testing.assert_close(slope.chunk(3)[position], expected.chunk(3)[position])


def test_for_one_task_with_equal_copies_is_a_cgc(build):
    """With one task nothing is stopped; its gate reads the sum of two equal copies, twice the one."""
    separate, extraction = (build(kind(own=2, shared=2, hidden=(7, 5)), FIELDS, ["like"]) for kind in (STEM, CGC))
    state = {name.removeprefix("levels.0."): weight for name, weight in extraction.state_dict().items()}
    separate.load_state_dict(state | {"gate.weight": state["gate.weight"] / 2})
    x_BD = inputs()[:, :WIDTH]
    torch.testing.assert_close(separate(torch.cat([x_BD, x_BD], 1), ["like"]), extraction(x_BD, ["like"]))
