"""Optimisers by name, and the step size over time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrec import Training
from polyrec.train.optimizers import build_optimizers, clip_gradients, step_size
from polyrec.train.quick_adam import QuickAdam


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSProp", "Adagrad"])
class TestEveryOptimizer:
    def test_is_known_in_any_case_and_descends(self, name: str):
        weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
        for spelt in (name, name.lower(), name.upper()):
            (optimizer,) = build_optimizers([weight], [], [], Training(optimizer=spelt, learning_rate=0.05, weight_decay=0.01))
            kind = QuickAdam if name.startswith("Adam") else type(optimizer)
            assert isinstance(optimizer, getattr(torch.optim, {"RMSProp": "RMSprop", "AdamW": "Adam"}.get(name, name)))
            assert type(optimizer) is kind
        before = float(weight.detach().square().sum())
        for _ in range(20):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
        assert float(weight.detach().square().sum()) < before

    def test_equals_torchs_own_unfused(self, name: str):
        training = Training(optimizer=name, learning_rate=0.05, weight_decay=0.01)
        ours, theirs = (torch.nn.Parameter(torch.tensor([3.0, -2.0])) for _ in range(2))
        reference = getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))([theirs], lr=0.05, weight_decay=0.01)
        for weight, optimizer in ((ours, *build_optimizers([ours], [], [], training)), (theirs, reference)):
            for _ in range(5):
                optimizer.zero_grad()
                weight.pow(4).sum().backward()
                optimizer.step()
        torch.testing.assert_close(ours, theirs)


def test_free_parameters_do_not_decay():
    weight, free = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    (optimizer,) = build_optimizers([weight], [], [free], Training(optimizer="sgd", learning_rate=0.1, weight_decay=0.5))
    (0 * weight.sum() + 0 * free.sum()).backward()
    optimizer.step()
    assert (weight < 1).all()
    assert (free == 1).all()


def test_clipping_is_that_of_torch():
    ours, theirs = ([torch.nn.Parameter(torch.ones(3)) for _ in range(2)] for _ in range(2))
    for weights in (ours, theirs):
        (3 * weights[0].sum() + weights[1].square().sum()).backward()
    clip_gradients(ours, 0.7)
    torch.nn.utils.clip_grad_norm_(theirs, 0.7)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_an_unknown_optimizer_lists_the_known():
    with pytest.raises(ValidationError, match="'sgd', 'adam', 'adamw', 'rmsprop' or 'adagrad'"):
        Training(optimizer="lion")


class TestStepSize:
    def test_by_hand(self):
        assert [step_size(step, 4, "constant", 0.5) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
        assert [step_size(step, 4, "linear", 0.0) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
        assert step_size(2, 4, "cosine", 0.0) == pytest.approx(0.5)

    @given(st.integers(1, 200), st.sampled_from(["constant", "linear", "cosine"]), st.floats(0, 1))
    def test_rises_then_never_rises_and_stays_within_bounds(self, steps: int, schedule: str, warmup: float):
        values = [step_size(step, steps, schedule, warmup) for step in range(steps)]
        rising = round(warmup * steps)
        assert all(0 < value <= 1 for value in values)
        assert values[:rising] == sorted(values[:rising])
        assert values[rising:] == sorted(values[rising:], reverse=True)
