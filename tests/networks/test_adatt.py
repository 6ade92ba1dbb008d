"""AdaTT: by hand, by a plain loop, and as MMoE. Shape letters: B rows, D width of all features together."""

import pytest
import torch

from polyrec import MMoE
from polyrec.networks.adatt import AdaTT

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")


def inputs():
    return torch.randn(9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gives_the_numbers_found_by_hand():
    """At x = 2 the experts give 2 and 6, whose mean, 4, each task reads beside its own once more."""
    shared = AdaTT(own=1, hidden=(1,)).build({"age": 1}, ("like", "stars"))
    state = shared.state_dict() | {
        "levels.0.own.weights.0": torch.tensor([1.0, 3.0]).view(2, 1, 1),
        "levels.0.own.biases.0": torch.zeros(2, 1, 1),
    }
    shared.load_state_dict(state)
    hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
    torch.testing.assert_close(hidden, {"like": torch.tensor([[6.0]]), "stars": torch.tensor([[10.0]])})


@pytest.mark.parametrize("common", [0, 2])
def test_is_a_loop_over_levels_tasks_and_experts(build, perceptron, common: int):
    per_task = 2
    shared = build(AdaTT(levels=3, own=per_task, shared=common, hidden=(7, 5)), FIELDS, TASKS)
    x_BD = inputs()
    reads, shared_reads = [x_BD] * 3, x_BD
    for level in shared.levels:
        of_task = [[perceptron(level.own, per_task * t + e, reads[t]) for e in range(per_task)] for t in range(3)]
        of_all = [perceptron(level.shared, e, shared_reads) for e in range(common)]
        every = [*of_task[0], *of_task[1], *of_task[2], *of_all]
        gates = [torch.softmax(reads[t] @ level.gate.weight[t], 1) for t in range(3)]
        if level.shared_gate is not None:
            gate_BE = torch.softmax(shared_reads @ level.shared_gate.weight[0], 1)
            native = sum(level.shared_residual[e] * state for e, state in enumerate(of_all))
            shared_reads = sum(gate_BE[:, [e]] * state for e, state in enumerate(every)) + native
        reads = [
            sum(gates[t][:, [e]] * state for e, state in enumerate(every))
            + sum(level.residual[t, e] * state for e, state in enumerate(of_task[t]))
            for t in range(3)
        ]
    torch.testing.assert_close(shared(x_BD, TASKS), dict(zip(TASKS, reads, strict=True)))
    torch.testing.assert_close(shared.gates(x_BD, TASKS), dict(zip(TASKS, gates, strict=True)))


def test_without_residual_is_mmoe_over_the_experts_of_all_tasks(build):
    fusion = build(AdaTT(own=2, hidden=(7, 5)), FIELDS, TASKS)
    mixture = build(MMoE(experts=6, hidden=(7, 5)), FIELDS, TASKS)
    learned = mixture.state_dict()
    renamed = {name.replace("experts.", "levels.0.own.").replace("gate.", "levels.0.gate."): name for name in learned}
    state = {name: learned[source] for name, source in renamed.items()}
    fusion.load_state_dict(state | {"levels.0.residual": torch.zeros(3, 2)})
    torch.testing.assert_close(fusion(inputs(), TASKS), mixture(inputs(), TASKS))
    torch.testing.assert_close(fusion.gates(inputs(), TASKS), mixture.gates(inputs(), TASKS))


@pytest.mark.parametrize("per_task", [1, 4])
def test_residual_starts_at_the_mean_of_own_experts(perceptron, per_task: int):
    shared = AdaTT(own=per_task, hidden=(7, 5)).build(FIELDS, ["like"])
    x_BD = inputs().float()
    mean = sum(perceptron(shared.levels[0].own, e, x_BD) for e in range(per_task)) / per_task
    torch.testing.assert_close(shared(x_BD, ["like"])["like"], 2 * mean)
