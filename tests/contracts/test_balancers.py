"""What every balancer keeps, and the value of the default pinned."""

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from polyrec import FixedWeights, UserError
from polyrec.balancing.balancer import Balancer

TASKS = ("like", "stars", "seconds")


def losses(tasks: Sequence[str] = TASKS, scale: float = 1.0) -> dict[str, Tensor]:
    return {task: torch.tensor(scale * (0.5 + position), requires_grad=True) for position, task in enumerate(tasks)}


def combine(balancer: Balancer, given: Mapping[str, Tensor]) -> Tensor:
    """Return what a new balance of all tasks makes of these losses."""
    torch.manual_seed(0)
    return balancer.build(TASKS)(given)


def named(balancer: Balancer) -> set[str]:
    """Return the tasks that a balancer names: the keys of its fields by task."""
    return {task for field in balancer.model_dump().values() if isinstance(field, dict) for task in field}


def test_one_number_comes_of_many_losses(balancer: Balancer):
    total = combine(balancer, losses())
    assert total.shape == ()
    assert torch.isfinite(total)


def test_a_single_loss_counts_in_proportion(balancer: Balancer):
    for task in TASKS:
        once, twice = (combine(balancer, losses([task], scale)).item() for scale in (1.0, 2.0))
        assert once > 0
        assert math.isclose(twice, 2 * once, rel_tol=1e-6)


@pytest.mark.parametrize("present", [TASKS[:1], TASKS[1:], TASKS[::2], TASKS], ids="+".join)
def test_every_task_present_is_learned_whichever_are_absent(balancer: Balancer, present: Sequence[str]):
    given = losses(present)
    combine(balancer, given).backward()
    for loss in given.values():
        assert loss.grad is not None
        assert torch.isfinite(loss.grad)
        assert loss.grad > 0


def test_the_order_of_tasks_does_not_matter(balancer: Balancer):
    given = losses()
    backwards = {task: given[task] for task in reversed(TASKS)}
    torch.testing.assert_close(combine(balancer, backwards), combine(balancer, given))


def test_what_it_learns_is_restored(balancer: Balancer):
    first, second = balancer.build(TASKS), balancer.build(TASKS)
    for _ in range(3):
        first(losses())
    second.load_state_dict(first.state_dict())
    totals = []
    for balance in (first, second):
        torch.manual_seed(0)
        totals.append(balance(losses()))
    torch.testing.assert_close(*totals)


def test_a_task_that_it_names_must_be_there(balancer: Balancer):
    others = ("likes", "starz")
    if named(balancer):
        with pytest.raises(UserError, match=r"Did you mean '(likes|starz)'"):
            balancer.build(others)
    else:
        balancer.build(others)


class TestFixedWeights:
    def test_is_the_weighted_sum(self):
        balance = FixedWeights(weights={"like": 2.0, "stars": 0.25}).build(TASKS)
        given = {"like": torch.tensor(0.5), "stars": torch.tensor(8.0), "seconds": torch.tensor(3.0)}
        assert float(balance(given)) == 2 * 0.5 + 0.25 * 8 + 3
        assert float(balance({"stars": given["stars"]})) == 2

    def test_passes_each_task_its_weight_as_gradient(self):
        given = losses()
        combine(FixedWeights(weights={"like": 2.0, "stars": 0.0}), given).backward()
        assert [float(loss.grad) for loss in given.values()] == [2, 0, 1]

    def test_refuses_a_task_that_is_not_there_with_the_nearest(self):
        with pytest.raises(UserError, match=r"weight of 'lik': .*no such task. Did you mean 'like'"):
            FixedWeights(weights={"lik": 1.0}).build(TASKS)
