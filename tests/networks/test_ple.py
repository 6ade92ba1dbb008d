"""CGC and PLE: by hand, by a plain loop, as each other and as MMoE. Shape letters: B rows, D width of all features together."""

import math

import pytest
import torch

from polyrec import MMoE
from polyrec.networks.cgc import CGC
from polyrec.networks.ple import PLE

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")


def inputs():
    return torch.randn(9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def level(number: int, private: tuple[float, float], shared: float) -> dict[str, torch.Tensor]:
    """Return the state of a level of experts that only multiply."""
    return {
        f"levels.{number}.own.weights.0": torch.tensor(private).view(2, 1, 1),
        f"levels.{number}.own.biases.0": torch.zeros(2, 1, 1),
        f"levels.{number}.shared.weights.0": torch.tensor(shared).view(1, 1, 1),
        f"levels.{number}.shared.biases.0": torch.zeros(1, 1, 1),
    }


class TestCGC:
    def test_gives_the_numbers_found_by_hand(self):
        """At x = 2, own experts give 2 and 6, the shared one 10: like mixes 2 and 10 equally, stars 6 and 10 by 3 to 1."""
        shared = CGC(own=1, shared=1, hidden=(1,)).build({"age": 1}, ("like", "stars"))
        gate = torch.tensor([[0.0, 0.0], [math.log(3) / 2, 0.0]]).view(2, 1, 2)
        shared.load_state_dict(level(0, (1.0, 3.0), 5.0) | {"levels.0.gate.weight": gate})
        hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
        torch.testing.assert_close(hidden, {"like": torch.tensor([[6.0]]), "stars": torch.tensor([[7.0]])})

    @pytest.mark.parametrize("per_task", [0, 1, 3])
    def test_is_ple_with_one_level(self, build, per_task: int):
        arguments = {"own": per_task, "shared": 2, "hidden": (7, 5), "products": True}
        one, other = build(CGC(**arguments), FIELDS, TASKS), build(PLE(levels=1, **arguments), FIELDS, TASKS)
        other.load_state_dict(one.state_dict())
        assert all(torch.equal(one(inputs(), TASKS)[task], state) for task, state in other(inputs(), TASKS).items())

    def test_keeps_the_experts_of_a_task_from_the_others(self, build):
        shared = build(CGC(own=2, shared=2, hidden=(7, 5)), FIELDS, TASKS)
        for position, task in enumerate(TASKS):
            (slope,) = torch.autograd.grad(shared(inputs(), TASKS)[task].sum(), [shared.levels[0].own.weights[0]])
            assert [bool(part.any()) for part in slope.chunk(3)] == [position == other for other in range(3)]


class TestPLE:
    def test_gives_the_numbers_found_by_hand(self):
        """Below, 2 and 6 and 10 give like 6, stars 8 and the shared 6; above, 6 and 8 are kept and the shared doubled."""
        shared = PLE(levels=2, own=1, shared=1, hidden=(1,)).build({"age": 1}, ("like", "stars"))
        shared.load_state_dict(shared.state_dict() | level(0, (1.0, 3.0), 5.0) | level(1, (1.0, 1.0), 2.0))
        hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
        torch.testing.assert_close(hidden, {"like": torch.tensor([[9.0]]), "stars": torch.tensor([[10.0]])})

    def test_is_a_loop_over_levels_tasks_and_experts(self, build, perceptron):
        per_task, common = 2, 3
        shared = build(PLE(levels=3, own=per_task, shared=common, hidden=(7, 5)), FIELDS, TASKS)
        x_BD = inputs()
        reads, shared_reads = [x_BD] * 3, x_BD
        for each in shared.levels:
            of_all = [perceptron(each.shared, e, shared_reads) for e in range(common)]
            of_task = [[perceptron(each.own, per_task * t + e, reads[t]) for e in range(per_task)] for t in range(3)]
            gates = [torch.softmax(reads[t] @ each.gate.weight[t], 1) for t in range(3)]
            if each.shared_gate is not None:
                gate_BE = torch.softmax(shared_reads @ each.shared_gate.weight[0], 1)
                every = [*of_task[0], *of_task[1], *of_task[2], *of_all]
                shared_reads = sum(gate_BE[:, [e]] * state for e, state in enumerate(every))
            reads = [sum(gates[t][:, [e]] * state for e, state in enumerate([*of_task[t], *of_all])) for t in range(3)]
        torch.testing.assert_close(shared(x_BD, TASKS), dict(zip(TASKS, reads, strict=True)))
        torch.testing.assert_close(shared.gates(x_BD, TASKS), dict(zip(TASKS, gates, strict=True)))

    @pytest.mark.parametrize("products", [True, False])
    @pytest.mark.parametrize("hidden", [(8,), (7, 5)])
    def test_without_own_experts_is_mmoe(self, build, products: bool, hidden: tuple[int, ...]):
        extraction = build(PLE(levels=1, own=0, shared=4, hidden=hidden, products=products), FIELDS, TASKS)
        mixture = build(MMoE(experts=4, hidden=hidden, products=products), FIELDS, TASKS)
        learned = mixture.state_dict()
        renamed = {name.replace("experts.", "levels.0.shared.").replace("gate.", "levels.0.gate."): name for name in learned}
        extraction.load_state_dict({name: learned[source] for name, source in renamed.items()})
        one, other = extraction(inputs(), TASKS), mixture(inputs(), TASKS)
        assert all(torch.equal(one[task], other[task]) for task in TASKS)
        one, other = extraction.gates(inputs(), TASKS), mixture.gates(inputs(), TASKS)
        assert all(torch.equal(one[task], other[task]) for task in TASKS)
