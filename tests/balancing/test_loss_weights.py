"""The balancers that look at losses, and GradNorm: against textbook code over several steps, and at their limits."""

import math
from collections.abc import Mapping

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, optim
from torchjd import scalarization

from polyrec import UserError, kinds
from polyrec.balancing.balancer import Balance

TASKS = ("a", "b", "c")


class Norms:
    """`Gradients` of which only the norms are stated."""

    def __init__(self, of: Mapping[str, float]) -> None:
        self.of = of

    def gramian(self, tasks: object) -> Tensor:
        raise AssertionError("no loss-based balancer asks for it")

    def norms(self, tasks: tuple[str, ...]) -> Tensor:
        return torch.tensor([self.of[task] for task in tasks])


def built(kind: str, constants: Mapping[str, float] | None = None, **fields: object) -> Balance:
    balance = kinds("balancers")[kind](**fields).build(TASKS)
    balance.start(constants or dict.fromkeys(TASKS, 1.0))
    return balance


def step(balance: Balance, at: Mapping[str, float], norms: Mapping[str, float] | None = None) -> tuple[float, dict[str, float]]:
    """Return the total and its derivative by each loss."""
    leaves = {task: torch.tensor(loss, requires_grad=True) for task, loss in at.items()}
    total = balance(leaves, Norms(norms or {}))
    gradients = torch.autograd.grad(total, [*leaves.values()], retain_graph=True)
    return total.item(), {task: weight.item() for task, weight in zip(leaves, gradients, strict=True)}


def several(seed: int, steps: int = 8) -> Tensor:
    """Return losses of the three tasks, a row a step."""
    return torch.rand(steps, len(TASKS), generator=torch.Generator().manual_seed(seed)).add(0.2)


def derivative(reference: scalarization.Scalarizer, losses: Tensor) -> Tensor:
    """Return the derivative by each loss of what the reference makes of them."""
    leaf = losses.clone().requires_grad_()
    return torch.autograd.grad(reference(leaf), leaf)[0]


class TestUncertainty:
    def test_it_is_twice_the_reference_which_halves_loss_and_log_variance(self):
        balance, reference = built("Uncertainty"), scalarization.UW(3)
        with torch.no_grad():
            for parameter, value in zip(balance.parameters(), (0.7, -0.4, 1.3), strict=True):
                parameter.fill_(value)
            reference.log_var.copy_(torch.tensor([0.7, -0.4, 1.3]))
        for losses in several(seed=0):
            total, weights = step(balance, dict(zip(TASKS, losses.tolist(), strict=True)))
            assert total == pytest.approx(2 * reference(losses).item(), rel=1e-6)
            assert [*weights.values()] == pytest.approx((2 * derivative(reference, losses)).tolist(), rel=1e-6)

    def test_it_is_the_formula(self):
        balance = built("Uncertainty")
        with torch.no_grad():
            for parameter, value in zip(balance.parameters(), (0.0, math.log(2), -1.0), strict=True):
                parameter.fill_(value)
        total, weights = step(balance, {"a": 3.0, "b": 8.0})
        assert total == pytest.approx(3 + 0 + 8 / 2 + math.log(2))
        assert weights == pytest.approx({"a": 1.0, "b": 0.5})

    def test_it_learns_the_log_of_each_loss_and_leaves_an_absent_task_alone(self):
        balance = built("Uncertainty")
        optimizer = optim.Adam(balance.parameters(), 0.05)
        for _ in range(600):
            optimizer.zero_grad()
            balance({"a": torch.tensor(4.0), "c": torch.tensor(0.3)}, Norms({})).backward()
            optimizer.step()
        assert [s.item() for s in balance.parameters()] == pytest.approx([math.log(4), 0, math.log(0.3)], abs=1e-3)


class TestDWA:
    def test_it_is_the_reference_over_several_epochs(self):
        balance, reference = built("DWA", temperature=0.5), scalarization.DWA(temperature=0.5)
        for epoch in range(5):
            losses = several(seed=epoch)
            for one in losses:
                weights = step(balance, dict(zip(TASKS, one.tolist(), strict=True)))[1]
                assert [*weights.values()] == pytest.approx(derivative(reference, one).tolist(), rel=1e-5)
            balance.end_epoch(dict(zip(TASKS, losses.mean(0).tolist(), strict=True)))
            reference.step()

    def test_weights_are_one_until_two_epochs_are_known(self):
        balance = built("DWA")
        for losses in ({"a": 2.0, "b": 3.0, "c": 4.0}, None):
            assert step(balance, {"a": 1.0, "b": 1.0, "c": 1.0})[1] == pytest.approx(dict.fromkeys(TASKS, 1.0))
            if losses:
                balance.end_epoch(losses)

    def test_the_task_that_falls_slowest_weighs_most(self):
        balance = built("DWA", temperature=0.5)
        balance.end_epoch({"a": 2.0, "b": 3.0, "c": 4.0})
        balance.end_epoch({"a": 1.0, "b": 3.0, "c": 3.0})
        raw = [math.exp(ratio / 0.5) for ratio in (0.5, 1.0, 0.75)]
        expected = {task: 3 * one / sum(raw) for task, one in zip(TASKS, raw, strict=True)}
        assert step(balance, dict.fromkeys(TASKS, 7.0))[1] == pytest.approx(expected, rel=1e-6)

    def test_an_epoch_without_labels_of_a_task_is_passed_over(self):
        balance = built("DWA", temperature=1.0)
        for losses in ({"a": 2.0, "b": 4.0, "c": 1.0}, {"a": 1.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}):
            balance.end_epoch(losses)
        weights = step(balance, {"a": 1.0, "b": 1.0})[1]
        assert weights["a"] / weights["b"] == pytest.approx(math.exp(1 - 1 / 4))
        assert sum(weights.values()) == pytest.approx(2)


class TestGLS:
    def test_it_is_the_reference(self):
        for losses in several(seed=0):
            total, weights = step(built("GLS"), dict(zip(TASKS, losses.tolist(), strict=True)))
            assert total == pytest.approx(scalarization.GeometricMean()(losses).item(), rel=1e-6)
            assert [*weights.values()] == pytest.approx(derivative(scalarization.GeometricMean(), losses).tolist(), rel=1e-5)

    def test_it_is_the_geometric_mean_and_its_derivative(self):
        total, weights = step(built("GLS"), {"a": 2.0, "b": 4.0, "c": 8.0})
        assert total == pytest.approx(4.0)
        assert weights == pytest.approx({"a": 4 / 6, "b": 4 / 12, "c": 4 / 24})

    def test_a_loss_of_zero_has_a_finite_weight(self):
        weights = step(built("GLS"), {"a": 0.0, "b": 1.0})[1]
        assert weights == pytest.approx({"a": 1e-3 / 2e-6, "b": 1e-3 / 2})


class TestRLW:
    def test_it_is_the_reference_at_the_same_seed(self):
        for seed, losses in enumerate(several(seed=0)):
            torch.manual_seed(seed)
            total, weights = step(built("RLW"), dict(zip(TASKS, losses.tolist(), strict=True)))
            torch.manual_seed(seed)
            assert total == pytest.approx(scalarization.Random()(losses).item(), rel=1e-6)
            torch.manual_seed(seed)
            assert [*weights.values()] == pytest.approx(derivative(scalarization.Random(), losses).tolist(), rel=1e-6)

    def test_weights_are_the_softmax_of_normal_numbers(self):
        torch.manual_seed(3)
        expected = torch.softmax(torch.randn(3), 0).tolist()
        torch.manual_seed(3)
        weights = step(built("RLW"), dict.fromkeys(TASKS, 1.0))[1]
        assert list(weights.values()) == pytest.approx(expected)

    def test_an_absent_task_changes_no_ratio_of_the_others_nor_the_next_draw(self):
        drawn = []
        for present in (TASKS, ("a", "c")):
            torch.manual_seed(3)
            balance = built("RLW")
            drawn.append([step(balance, dict.fromkeys(present, 1.0))[1] for _ in range(2)])
        for whole, part in zip(*drawn, strict=True):
            assert part["a"] / part["c"] == pytest.approx(whole["a"] / whole["c"])
            assert sum(part.values()) == pytest.approx(1)


class TestConcatenated:
    constants = {"a": 1.0, "b": 10.0, "c": 0.5}

    def test_power_two_is_the_root_mean_square_of_the_errors(self):
        total, weights = step(built("Concatenated", self.constants, power=2), {"a": 0.6, "b": 8.0})
        assert total == pytest.approx(math.sqrt((0.36 + 0.64) / 2))
        assert weights == pytest.approx({"a": 0.6 / total / 2, "b": 0.8 / total / 2 / 10})

    def test_power_one_is_the_mean(self):
        total, weights = step(built("Concatenated", self.constants, power=1), {"a": 0.6, "b": 8.0, "c": 0.2})
        assert total == pytest.approx((0.6 + 0.8 + 0.4) / 3)
        assert weights == pytest.approx({"a": 1 / 3, "b": 1 / 30, "c": 2 / 3})

    @pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
    def test_a_high_power_follows_the_worst_task(self, scale: float):
        total, weights = step(built("Concatenated", self.constants, power=400), {"a": 0.6 * scale, "b": 8.0 * scale})
        assert total == pytest.approx(0.8 * scale, rel=5e-3)
        assert weights["b"] == pytest.approx(0.1, rel=5e-3)
        assert weights["a"] < 1e-9

    def test_errors_of_zero_have_finite_weights(self):
        total, weights = step(built("Concatenated"), {"a": 0.0, "b": 0.0})
        assert total < 1e-9
        assert all(math.isfinite(weight) for weight in weights.values())

    def test_a_power_below_one_is_refused(self):
        with pytest.raises(ValidationError, match="greater than or equal to 1"):
            built("Concatenated", power=0.5)


def skilled(skill: float, **fields: object) -> dict[str, float]:
    """Return the weights after many steps in which task a, which comes before all others, had this skill."""
    balance = built("Hierarchical", order=("a",), targets={"a": 0.4}, smoothing=0.5, **fields)
    for _ in range(60):
        step(balance, {"a": 1 - skill})
    return step(balance, dict.fromkeys(TASKS, 1.0))[1]


class TestHierarchical:
    def test_lower_tasks_wait_in_proportion_to_skill(self):
        assert skilled(0.1) == pytest.approx({"a": 1.0, "b": 0.25, "c": 0.25}, rel=1e-5)
        assert skilled(-0.5) == pytest.approx({"a": 1.0, "b": 0.01, "c": 0.01})
        assert skilled(0.7) == pytest.approx(dict.fromkeys(TASKS, 1.0))

    @pytest.mark.parametrize("rule", ["gradual", "lexicographic"])
    def test_the_weight_of_a_lower_task_never_falls_as_the_higher_gains_skill(self, rule: str):
        weights = [skilled(skill / 20, rule=rule)["b"] for skill in range(-4, 20)]
        assert weights == sorted(weights)
        assert weights[0] == pytest.approx(0.01)
        assert weights[-1] == 1.0

    def test_a_met_task_stays_met_within_the_tolerance(self):
        fields = {"rule": "lexicographic", "tolerance": 0.1, "smoothing": 0.0}
        balance = built("Hierarchical", order=("a",), targets={"a": 0.4}, **fields)
        weights = []
        for skill in (0.35, 0.45, 0.35, 0.25, 0.35):
            step(balance, {"a": 1 - skill})
            weights.append(step(balance, {"b": 1.0})[1]["b"])
        assert weights == pytest.approx([0.01, 1.0, 1.0, 0.01, 0.01])

    def test_the_lowest_task_waits_for_all_above_and_skill_is_measured_by_the_constants(self):
        balance = built("Hierarchical", {"a": 2.0, "b": 5.0, "c": 1.0}, order=("b", "a"), targets={"b": 0.5, "a": 1.0})
        step(balance, {"a": 1.0, "b": 4.0})
        assert step(balance, dict.fromkeys(TASKS, 1.0))[1] == pytest.approx({"b": 1.0, "a": 0.2 / 0.5, "c": 0.2 / 0.5 * 0.5})

    def test_a_task_that_was_never_seen_is_not_met(self):
        balance = built("Hierarchical", order=("a",), targets={"a": 0.1}, least=0.05)
        assert step(balance, {"b": 1.0})[1] == pytest.approx({"b": 0.05})

    def test_refuses_what_does_not_fit(self):
        with pytest.raises(UserError, match=r"order: 'aa': .*no such task"):
            built("Hierarchical", order=("aa",), targets={"aa": 0.1})
        with pytest.raises(UserError, match=r"target of 'b': expected a skill, as lower tasks depend on it, found none"):
            built("Hierarchical", order=("a", "b"), targets={"a": 0.1})
        with pytest.raises(ValidationError, match="`targets` names 'b', which `order` does not contain"):
            built("Hierarchical", order=("a",), targets={"b": 0.1})
        with pytest.raises(ValidationError, match="`order` names a task twice"):
            built("Hierarchical", order=("a", "a"), targets={"a": 0.1})

    def test_the_last_of_all_tasks_needs_no_target(self):
        balance = built("Hierarchical", order=TASKS, targets={"a": 0.1, "b": 0.1})
        assert step(balance, {"c": 1.0})[1] == pytest.approx({"c": 0.01})
        for _ in range(200):
            step(balance, {"a": 0.5, "b": 0.5, "c": 9.0})
        assert step(balance, dict.fromkeys(TASKS, 1.0))[1] == pytest.approx(dict.fromkeys(TASKS, 1.0))


class TestFAMO:
    def test_it_is_the_reference_over_several_steps(self):
        balance = built("FAMO", learning_rate=0.05, decay=0.01)
        reference = scalarization.FAMO(3, lr=0.05, weight_decay=0.01)
        for before, after in zip(several(seed=0), several(seed=1), strict=True):
            weights = step(balance, dict(zip(TASKS, before.tolist(), strict=True)))[1]
            torch.testing.assert_close(torch.tensor([*weights.values()]), derivative(reference, before), rtol=1e-4, atol=1e-6)
            balance.look_back(dict(zip(TASKS, after, strict=True)))
            reference.update(after)

    def test_it_is_the_algorithm_of_the_paper_over_several_steps(self):
        balance = built("FAMO", learning_rate=0.05, decay=0.01)
        xi = torch.zeros(3, requires_grad=True)
        adam = optim.Adam([xi], lr=0.05, weight_decay=0.01)
        generator = torch.Generator().manual_seed(0)
        for _ in range(6):
            before, after = torch.rand(2, 3, generator=generator).add(0.2)
            leaf = before.clone().requires_grad_()
            z = torch.softmax(xi, 0).detach()
            constant = (z / before).sum()
            (expected,) = torch.autograd.grad((z * leaf.log()).sum() / constant, leaf)
            weights = step(balance, dict(zip(TASKS, before.tolist(), strict=True)))[1]
            torch.testing.assert_close(torch.tensor([*weights.values()]), expected, rtol=1e-5, atol=1e-6)
            balance.look_back(dict(zip(TASKS, after, strict=True)))
            (slope,) = torch.autograd.grad(torch.softmax(xi, 0), xi, before.log() - after.log())
            xi.grad = slope
            adam.step()
        assert xi.abs().max() > 0.05
        torch.testing.assert_close(balance.logits_T, xi.detach(), rtol=1e-4, atol=1e-5)

    def test_the_loss_that_falls_slower_gains_weight(self):
        balance = built("FAMO")
        first = step(balance, {"a": 1.0, "b": 1.0})[1]
        balance.look_back({"a": torch.tensor(0.5), "b": torch.tensor(0.9)})
        second = step(balance, {"a": 1.0, "b": 1.0})[1]
        assert second["b"] > first["b"] == pytest.approx(0.5)
        assert sum(second.values()) == pytest.approx(1)

    def test_an_absent_task_keeps_its_state(self):
        balance = built("FAMO")
        for present in (TASKS, ("a", "c")):
            before = {name: value.clone() for name, value in balance.state_dict().items()}
            step(balance, dict.fromkeys(present, 1.0))
            balance.look_back({task: torch.tensor(0.4 + 0.1 * TASKS.index(task)) for task in present})
        for name in ("logits_T", "first_T", "second_T", "steps_T"):
            assert (balance.state_dict()[name] != before[name]).tolist() == [True, False, True]


class TestGradNorm:
    def test_it_is_the_gradient_step_of_the_paper(self):
        balance, weight = built("GradNorm", alpha=0.5, learning_rate=0.1), torch.ones(3)
        first = torch.tensor([2.0, 1.0, 4.0])
        generator = torch.Generator().manual_seed(0)
        for steps in range(5):
            losses = first if steps == 0 else first * torch.rand(3, generator=generator)
            norms = torch.rand(3, generator=generator) + 0.1
            weights = step(
                balance, dict(zip(TASKS, losses.tolist(), strict=True)), dict(zip(TASKS, norms.tolist(), strict=True))
            )[1]
            torch.testing.assert_close(torch.tensor([*weights.values()]), weight)
            leaf, unit = weight.clone().requires_grad_(), norms / norms.mean()
            rate = losses / first
            goal = ((leaf * unit).mean() * (rate / rate.mean()) ** 0.5).detach()
            (slope,) = torch.autograd.grad((leaf * unit - goal).abs().sum(), leaf)
            weight = weight - 0.1 * slope
            weight = 3 * weight / weight.sum()
        torch.testing.assert_close(balance.weight_T, weight)

    def test_norms_even_out_whatever_the_scale_of_the_losses(self):
        for scale in (1e-3, 1e3):
            balance = built("GradNorm", alpha=0.0, learning_rate=0.01)
            for _ in range(400):
                norms = {"a": 1.0 * scale, "b": 2.0 * scale, "c": 4.0 * scale}
                step(balance, dict.fromkeys(TASKS, 1.0), norms)
            even = balance.weight_T * torch.tensor([1.0, 2.0, 4.0])
            torch.testing.assert_close(even, even.mean().expand(3), rtol=0.1, atol=0)
            assert float(balance.weight_T.sum()) == pytest.approx(3, rel=1e-4)

    def test_the_faster_task_ends_with_a_gradient_that_is_smaller_by_the_power_of_its_rate(self):
        balance = built("GradNorm", alpha=1.5, learning_rate=0.002)
        step(balance, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 3.0})
        for _ in range(600):
            step(balance, {"a": 0.4, "b": 0.2}, {"a": 1.0, "b": 3.0})
        a, b = balance.weight_T[:2].tolist()
        assert 3 * b / ((a + 3 * b) / 2) == pytest.approx((0.2 / 0.3) ** 1.5, rel=0.015)

    def test_no_weight_falls_to_zero(self):
        balance = built("GradNorm", learning_rate=2.0)
        for _ in range(5):
            step(balance, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 9.0})
            assert balance.weight_T.min() > 0

    def test_an_absent_task_keeps_its_weight_and_its_first_loss_is_that_of_its_first_batch(self):
        balance = built("GradNorm", learning_rate=0.1)
        step(balance, {"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 3.0})
        assert balance.first_T.tolist() == [1, 2, 0]
        assert float(balance.weight_T[2]) == 1
        step(balance, {"b": 1.0, "c": 5.0}, {"b": 1.0, "c": 3.0})
        assert balance.first_T.tolist() == [1, 2, 5]
        assert float(balance.weight_T.sum()) == pytest.approx(3)


def test_a_constant_that_is_not_positive_measures_nothing():
    balance = built("GLS", {"a": 0.0, "b": math.nan, "c": 0.25})
    assert balance.constants_T.tolist() == [1, 1, 0.25]
