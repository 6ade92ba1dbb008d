"""What every balancer keeps, on losses and gradients that are stated, and the value of the default pinned."""

from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec import FixedWeights, UserError, kinds
from polyrec.balancing.balancer import Balance, Balancer

TASKS = ("like", "stars", "seconds")
APART = {"like": [1.0, 0.1, 0.0], "stars": [0.0, 1.5, 0.1], "seconds": [0.1, 0.0, 0.8]}
"""Gradients that do not conflict."""
AT_ODDS = {"like": [1.0, -0.7, 0.2], "stars": [-0.4, 1.5, 0.1], "seconds": [-2.0, 0.3, 0.8]}
"""Gradients that do, each with each."""
EVERY = [kind(**example) for kind in kinds("balancers").values() for example in kind.examples]


class Explicit:
    """`Gradients` made of one vector a task."""

    def __init__(self, of: Mapping[str, Sequence[float]]) -> None:
        self.of = of

    def gramian(self, tasks: Sequence[str]) -> Tensor:
        matrix = torch.tensor([list(self.of[task]) for task in tasks])
        return matrix @ matrix.T

    def norms(self, tasks: Sequence[str]) -> Tensor:
        return self.gramian(tasks).diagonal().sqrt()


def losses(tasks: Sequence[str] = TASKS, scale: float = 1.0) -> dict[str, Tensor]:
    return {task: torch.tensor(scale * (0.5 + TASKS.index(task)), requires_grad=True) for task in tasks}


def built(balancer: Balancer, tasks: Sequence[str] = TASKS) -> Balance:
    balance = balancer.build(tasks)
    balance.start({"like": 0.6, "stars": 1.2, "seconds": 2.0})
    return balance


def weights(balance: Balance, at: Mapping[str, Tensor], of: Mapping[str, Sequence[float]] = AT_ODDS, seed: int = 0) -> dict:
    """Return the derivative of the total by each loss at one step, and look back on losses that fell unevenly."""
    torch.manual_seed(seed)
    total = balance(at, Explicit(of))
    weight_of = dict(zip(at, torch.autograd.grad(total, [*at.values()]), strict=True))
    if balance.looks_back:
        balance.look_back({task: loss.detach() * (0.7 + 0.1 * TASKS.index(task)) for task, loss in at.items()})
    return weight_of


def train(balance: Balance, steps: int = 4) -> None:
    """Take steps on losses that change, in which a task is absent now and then, in two epochs."""
    for step in range(steps):
        present = [task for position, task in enumerate(TASKS) if (step + position) % 3]
        weights(balance, losses(present, 1 / (1 + step)), seed=step)
    for scale in (1.0, 0.8, 0.7):
        balance.end_epoch({"like": scale, "stars": 2.0, "seconds": 3.0 * scale * scale})


def named(balancer: Balancer) -> set[str]:
    """Return the tasks that a balancer names: the keys of its fields by task."""
    return {task for field in balancer.model_dump().values() if isinstance(field, dict) for task in field}


def test_one_number_comes_of_many_losses(balancer: Balancer):
    total = built(balancer)(losses(), Explicit(AT_ODDS))
    assert total.shape == ()
    assert torch.isfinite(total)


def test_a_single_loss_counts_in_proportion(balancer: Balancer):
    for task in TASKS:
        once, twice = (built(balancer)(losses([task], scale), Explicit(AT_ODDS)) for scale in (1.0, 2.0))
        assert once > 0
        torch.testing.assert_close(twice, 2 * once)


@pytest.mark.parametrize("present", [TASKS[:1], TASKS[1:], TASKS[::2], TASKS], ids="+".join)
def test_every_task_present_is_learned_whichever_are_absent(balancer: Balancer, present: Sequence[str]):
    balance = built(balancer)
    for weight in weights(balance, losses(present), APART).values():
        assert torch.isfinite(weight)
        assert weight > 0


def test_a_task_is_learned_after_it_was_absent(balancer: Balancer):
    balance = built(balancer)
    for step in range(5):
        weights(balance, losses(TASKS[:2]), APART, seed=step)
    assert all(weight > 0 for weight in weights(balance, losses(), APART).values())


def test_the_order_of_the_losses_does_not_matter(balancer: Balancer):
    balances = built(balancer), built(balancer)
    for balance in balances:
        train(balance)
    at = losses()
    forwards, backwards = weights(balances[0], at), weights(balances[1], dict(reversed(at.items())))
    for task in TASKS:
        torch.testing.assert_close(backwards[task], forwards[task])


def test_the_order_of_declaration_does_not_matter(balancer: Balancer):
    balances = built(balancer), built(balancer, TASKS[::-1])
    for balance in balances:
        train(balance)
    forwards, backwards = (weights(balance, losses()) for balance in balances)
    for task in TASKS:
        torch.testing.assert_close(backwards[task], forwards[task], rtol=1e-4, atol=1e-6)


def test_what_it_learns_is_restored(balancer: Balancer):
    first, second = built(balancer), balancer.build(TASKS)
    with torch.no_grad():
        for position, parameter in enumerate(first.parameters()):
            parameter.fill_(0.1 * position)
    train(first)
    second.load_state_dict(first.state_dict())
    for step in range(3):
        assert weights(first, losses(), seed=step) == weights(second, losses(), seed=step)
        for balance in (first, second):
            balance.end_epoch({"like": 0.1, "stars": 1.0})
    assert first.state_dict().keys() == second.state_dict().keys()
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize("naming", [balancer for balancer in EVERY if named(balancer)], ids=repr)
def test_a_task_that_it_names_must_be_there(naming: Balancer):
    with pytest.raises(UserError, match=r"Did you mean '(likes|starz)'"):
        naming.build(("likes", "starz"))


@pytest.mark.parametrize("nameless", [balancer for balancer in EVERY if not named(balancer)], ids=repr)
def test_one_that_names_no_task_weighs_tasks_of_any_names(nameless: Balancer):
    """With other names in the same alphabetical order, by which random numbers are dealt, the weights are the same."""
    renamed = {"like": "a", "stars": "c", "seconds": "b"}
    here, there = nameless.build(TASKS), nameless.build(tuple(renamed.values()))
    assert sorted(TASKS) == sorted(TASKS, key=renamed.__getitem__)
    at, elsewhere = losses(), {renamed[task]: loss for task, loss in losses().items()}
    expected = weights(here, at)
    torch.manual_seed(0)
    total = there(elsewhere, Explicit({renamed[task]: vector for task, vector in AT_ODDS.items()}))
    for task, weight in zip(TASKS, torch.autograd.grad(total, [*elsewhere.values()]), strict=True):
        torch.testing.assert_close(weight, expected[task])


@settings(max_examples=40)
@given(st.data())
def test_degenerate_gradients_and_losses_leave_weights_to_learn_by(data: st.DataObject):
    width = data.draw(st.integers(1, 4))
    vector = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, 1e-6, 1e4]), min_size=width, max_size=width)
    of = {task: data.draw(vector) for task in TASKS}
    at = {task: torch.tensor(data.draw(st.sampled_from([1e-9, 0.3, 5.0, 1e6])), requires_grad=True) for task in TASKS}
    for balancer in EVERY:
        balance = built(balancer)
        for step in range(2):
            weight_T = torch.stack([*weights(balance, at, of, seed=step).values()])
            assert torch.isfinite(weight_T).all(), balancer
            assert (weight_T >= 0).all(), balancer
            assert weight_T.sum() > 0, balancer


class TestFixedWeights:
    def test_is_the_weighted_sum(self):
        balance = FixedWeights(weights={"like": 2.0, "stars": 0.25}).build(TASKS)
        given = {"like": torch.tensor(0.5), "stars": torch.tensor(8.0), "seconds": torch.tensor(3.0)}
        assert float(balance(given, Explicit({}))) == 2 * 0.5 + 0.25 * 8 + 3
        assert float(balance({"stars": given["stars"]}, Explicit({}))) == 2

    def test_passes_each_task_its_weight_as_gradient(self):
        weight_of = weights(FixedWeights(weights={"like": 2.0, "stars": 0.0}).build(TASKS), losses())
        assert [float(weight) for weight in weight_of.values()] == [2, 0, 1]

    def test_refuses_a_task_that_is_not_there_with_the_nearest(self):
        with pytest.raises(UserError, match=r"weight of 'lik': .*no such task. Did you mean 'like'"):
            FixedWeights(weights={"lik": 1.0}).build(TASKS)
