"""HoME: by hand, by a plain loop, groups, and batch statistics. Shape letters: B rows, D width of all features together."""

import math

import pytest
import torch
from pydantic import ValidationError

from polyrec import UserError
from polyrec.networks.home import HoME

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")
SMALL = {"own": 2, "grouped": 3, "shared": 2, "rank": 2, "hidden": (7, 5)}


def inputs(rows: int = 9):
    return torch.randn(rows, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def expert(gated, number, x_BD):
    """Evaluate one of several gated experts where nothing trains."""
    x_BD = x_BD * 2 * (x_BD @ gated.down[number] @ gated.up[number]).sigmoid()
    experts = gated.experts
    for layer, weight in enumerate(experts.weights):
        mean, variance = (experts.get_buffer(f"{name}_{layer}")[number] for name in ("mean", "variance"))
        normal = (x_BD @ weight[number] - mean) / (variance + 1e-5).sqrt()
        raw = normal * experts.scales[layer][number] + experts.shifts[layer][number]
        x_BD = raw * raw.sigmoid()
    return x_BD


def weighted(weight_BE, states):
    return sum(weight_BE[:, [e]] * state for e, state in enumerate(states))


def test_gives_the_numbers_found_by_hand():
    """Experts that are all Swish: equal gates leave it, and a self-gate at a half adds half of it, twice over."""
    shared = HoME(own=1, grouped=1, shared=1, hidden=(1,)).build({"age": 1}, ("like", "stars")).eval()
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if ".weights." in name:
                parameter.fill_(1)

    def swish(number: float) -> float:
        return number / (1 + math.exp(-number))

    expected = torch.tensor([[1.5 * swish(1.5 * swish(2.0))]])
    hidden = shared(torch.tensor([[2.0]]), ("like", "stars"))
    torch.testing.assert_close(hidden, {"like": expected, "stars": expected}, rtol=1e-4, atol=0)
    torch.testing.assert_close(expected, torch.tensor([[3.7002]]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("groups", [(), (("stars",),), (("seconds", "like"), ("stars",))])
def test_is_a_loop_over_groups_tasks_and_experts(build, groups):
    shared = build(HoME(groups=groups, **SMALL), FIELDS, TASKS)
    x_BD = inputs()
    group_of = {"like": 0, "stars": 0, "seconds": 0}
    if groups:
        group_of = {"stars": 0, "like": 1, "seconds": 1} if len(groups) == 1 else {"seconds": 0, "like": 0, "stars": 1}
    count = max(group_of.values()) + 1

    below = [[expert(shared.meta_grouped, 3 * g + e, x_BD) for e in range(3)] for g in range(count)]
    below_all = [expert(shared.meta_shared, e, x_BD) for e in range(2)]
    of_group = [
        weighted(torch.softmax(x_BD @ shared.meta_gate.weight[g], 1), [*below[g], *below_all])
        + weighted(torch.softmax(x_BD @ shared.meta_self.weight[g], 1), below[g])
        for g in range(count)
    ]
    of_all = weighted(
        torch.softmax(x_BD @ shared.meta_shared_gate.weight[0], 1), [state for group in below for state in group] + below_all
    ) + weighted(torch.softmax(x_BD @ shared.meta_shared_self.weight[0], 1), below_all)

    hidden, gates = shared(x_BD, TASKS), shared.gates(x_BD, TASKS)
    for position, task in enumerate(TASKS):
        group = group_of[task]
        mine = [expert(shared.own, 2 * position + e, of_group[group]) for e in range(2)]
        ours = [expert(shared.grouped, 3 * group + e, of_group[group]) for e in range(3)]
        every = [expert(shared.shared, e, of_all) for e in range(2)]
        gate_BE = torch.softmax(torch.cat([of_group[group], of_all], 1) @ shared.gate.weight[position], 1)
        alone_BE = torch.softmax(of_group[group] @ shared.own_self.weight[position], 1)
        torch.testing.assert_close(gates[task], gate_BE)
        torch.testing.assert_close(hidden[task], weighted(gate_BE, [*mine, *ours, *every]) + weighted(alone_BE, mine))


def test_keeps_the_experts_of_a_group_of_tasks_from_the_others(build):
    shared = build(HoME(groups=(("stars",), ("like", "seconds")), **SMALL), FIELDS, TASKS)
    for task, group in (("stars", 0), ("like", 1), ("seconds", 1)):
        (slope,) = torch.autograd.grad(shared(inputs(), TASKS)[task].sum(), [shared.grouped.experts.weights[0]])
        assert [bool(part.any()) for part in slope.chunk(2)] == [group == other for other in range(2)]


def test_tasks_that_no_group_names_are_one_group(build):
    some, every = (
        build(HoME(groups=groups, **SMALL), FIELDS, TASKS) for groups in ([["stars"]], [["stars"], ["like", "seconds"]])
    )
    some.load_state_dict(every.state_dict())
    torch.testing.assert_close(some(inputs(), TASKS), every(inputs(), TASKS))


class TestRefusals:
    def test_of_a_task_that_is_not_there(self):
        with pytest.raises(UserError, match=r"group with 'likes': expected a task's name.*Did you mean 'like'\?"):
            HoME(groups=(("likes", "stars"),)).build(FIELDS, TASKS)

    def test_of_a_task_in_two_groups(self):
        with pytest.raises(ValidationError, match="'like' is named twice"):
            HoME(groups=(("like",), ("stars", "like")))

    def test_of_an_empty_group(self):
        with pytest.raises(ValidationError, match="a group is empty"):
            HoME(groups=(("like",), ()))


class TestTraining:
    def test_learns_from_a_batch_of_one_row(self, build):
        shared = build(HoME(**SMALL), FIELDS, TASKS).train()
        before = {name: buffer.clone() for name, buffer in shared.named_buffers()}
        sum(state.square().sum() for state in shared(inputs(1), TASKS).values()).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in shared.parameters())
        assert all(torch.equal(buffer, before[name]) for name, buffer in shared.named_buffers())

    def test_teaches_after_batches_of_one_row_and_of_many(self, build):
        """Running statistics that one pass used may be moved by the next before gradients flow back."""
        shared = build(HoME(**SMALL), FIELDS, TASKS).train()
        losses = [shared(inputs(rows), TASKS)["like"].square().sum() for rows in (1, 9, 1)]
        sum(losses).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in shared.own.parameters())

    def test_of_some_tasks_leaves_the_statistics_of_the_others_alone(self, build):
        shared = build(HoME(**SMALL), FIELDS, TASKS).train()
        before = shared.own.experts.mean_0.clone()
        shared(inputs(), ["seconds", "like"])
        moved = [bool((old != new).any()) for old, new in zip(before.chunk(3), shared.own.experts.mean_0.chunk(3), strict=True)]
        assert moved == [True, False, True]
