"""Batched experts are as many perceptrons. Shape letters: B rows, E experts, G groups that share an input, D input width."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from polyrec.layers.experts import Experts, batched_linear
from polyrec.layers.normalized_experts import NormalizedExperts

ROWS, WIDTH = 20, 9
HIDDEN = [(5,), (7, 5), (7, 6, 5)]


def plain(experts: Experts, number: int, x_BD: torch.Tensor) -> torch.Tensor:
    for weight_EDH, bias_E1H in zip(experts.weights, experts.biases, strict=True):
        x_BD = functional.linear(x_BD, weight_EDH[number].T, bias_E1H[number, 0]).relu()
    return x_BD


@pytest.mark.parametrize("hidden", HIDDEN)
class TestExperts:
    @pytest.mark.parametrize("count", [1, 6])
    def test_with_one_input_are_perceptrons_on_it(self, count: int, hidden: tuple[int, ...]):
        torch.manual_seed(0)
        experts, x_BD = Experts(count, WIDTH, hidden), torch.randn(ROWS, WIDTH)
        outputs = experts(x_BD)
        assert outputs.shape == (count, ROWS, experts.width)
        for number in range(count):
            torch.testing.assert_close(outputs[number], plain(experts, number, x_BD))

    @pytest.mark.parametrize("groups", [1, 2, 3, 6])
    def test_in_groups_read_the_input_of_their_group(self, groups: int, hidden: tuple[int, ...]):
        torch.manual_seed(0)
        experts, x_GBD = Experts(6, WIDTH, hidden), torch.randn(groups, ROWS, WIDTH)
        outputs = experts(x_GBD)
        for number in range(6):
            torch.testing.assert_close(outputs[number], plain(experts, number, x_GBD[number // (6 // groups)]))

    @pytest.mark.parametrize("chosen", [[4], [5, 0], [0, 1, 2, 3, 4, 5], []])
    def test_chosen_are_those_among_all(self, chosen: list[int], hidden: tuple[int, ...]):
        torch.manual_seed(0)
        experts, x_BD = Experts(6, WIDTH, hidden), torch.randn(ROWS, WIDTH)
        torch.testing.assert_close(experts(x_BD, chosen), experts(x_BD)[chosen])
        x_EBD = torch.randn(6, ROWS, WIDTH)
        torch.testing.assert_close(experts(x_EBD[chosen], chosen), experts(x_EBD)[chosen])


@pytest.mark.parametrize("groups", [None, 1, 2, 6])
def test_batched_linear_adds_a_bias_where_there_is_one(groups: int | None):
    weight_EDH, bias_E1H = torch.randn(6, WIDTH, 4), torch.randn(6, 1, 4)
    x_GBD = torch.randn(ROWS, WIDTH) if groups is None else torch.randn(groups, ROWS, WIDTH)
    torch.testing.assert_close(batched_linear(x_GBD, weight_EDH, bias_E1H), batched_linear(x_GBD, weight_EDH) + bias_E1H)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("groups", [None, 2])
def test_normalized_experts_are_torch_modules_one_by_one(groups: int | None, training: bool, hidden: tuple[int, ...]):
    """Also what they take note of is what `BatchNorm1d` does."""
    torch.manual_seed(0)
    batched = NormalizedExperts(4, WIDTH, hidden)
    singles = [_single(batched, number) for number in range(4)]
    shape = (ROWS, WIDTH) if groups is None else (groups, ROWS, WIDTH)
    for training_pass in (True, training):
        batched.train(training_pass)
        x_GBD = torch.randn(shape)
        outputs = batched(x_GBD)
        for number, single in enumerate(singles):
            single.train(training_pass)
            x_BD = x_GBD if groups is None else x_GBD[number // 2]
            torch.testing.assert_close(outputs[number], single(x_BD))
    for number, single in enumerate(singles):
        for layer, norm in enumerate(step for step in single if isinstance(step, nn.BatchNorm1d)):
            torch.testing.assert_close(batched.get_buffer(f"mean_{layer}")[number], norm.running_mean)
            torch.testing.assert_close(batched.get_buffer(f"variance_{layer}")[number], norm.running_var)


def test_normalized_experts_for_one_row_in_training_use_what_they_noted():
    torch.manual_seed(0)
    experts = NormalizedExperts(3, WIDTH, (7, 5))
    experts(torch.randn(ROWS, WIDTH))
    x_BD = torch.randn(1, WIDTH)
    in_training = experts.train()(x_BD)
    assert torch.equal(in_training, experts.eval()(x_BD))


def _single(batched: NormalizedExperts, number: int) -> nn.Sequential:
    steps: list[nn.Module] = []
    for weight_EDH, scale_EH, shift_EH in zip(batched.weights, batched.scales, batched.shifts, strict=True):
        linear = nn.Linear(weight_EDH.shape[1], weight_EDH.shape[2], bias=False)
        norm = nn.BatchNorm1d(weight_EDH.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight_EDH[number].T)
            scale_EH[number].uniform_(0.5, 1.5)
            shift_EH[number].uniform_(-1, 1)
            norm.weight.copy_(scale_EH[number])
            norm.bias.copy_(shift_EH[number])
        steps += [linear, norm, nn.SiLU()]
    return nn.Sequential(*steps)
