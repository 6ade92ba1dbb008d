"""Each pooling against plain loops over rows and elements, written from the formulas.

Shape letters: B rows, L length of a history, K width of an element.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec import UserError
from polyrec.poolings.convolution import Convolution
from polyrec.poolings.din import DIN
from polyrec.poolings.mean import Mean
from polyrec.poolings.pooling import Pooling, PoolingModule
from polyrec.poolings.recency import Recency
from polyrec.poolings.recurrent import Recurrent
from polyrec.poolings.sasrec import SASRec

WIDTH = 4
LENGTHS = (1, 2, 5, 3)


def world(pooling: Pooling) -> tuple[PoolingModule, dict[str, Tensor], Tensor, Tensor, Tensor]:
    """Return a pooling's module, its weights, and histories, mask and targets, all in double precision."""
    torch.manual_seed(0)
    module = pooling.build(WIDTH, 6).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    x_BLK, target_BK = torch.randn(len(LENGTHS), 5, WIDTH).double(), torch.randn(len(LENGTHS), WIDTH).double()
    return module, weights, x_BLK, torch.arange(5, 0, -1) <= torch.tensor(LENGTHS)[:, None], target_BK


def linear(x_K: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return weights[f"{name}.weight"] @ x_K + weights[f"{name}.bias"]


def norm(x_K: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = x_K - x_K.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


@pytest.mark.parametrize("pooling", [Mean(), DIN(), DIN(hidden=(5, 3))], ids=repr)
@settings(max_examples=30)
@given(order=st.permutations(range(5)), seed=st.integers(0, 10**6))
def test_the_order_of_elements_matters_neither_to_mean_nor_to_din(pooling: Pooling, order: list[int], seed: int):
    module, _, x_BLK, _, target_BK = world(pooling)
    x_BLK = torch.randn(x_BLK.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mask_BL = torch.rand(x_BLK.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.7
    turned = module(x_BLK[:, order], mask_BL[:, order], target_BK)
    torch.testing.assert_close(turned, module(x_BLK, mask_BL, target_BK))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), length=st.integers(1, 9))
def test_mean_lies_between_the_least_and_the_greatest_element(seed: int, length: int):
    x_BLK = torch.randn(3, length, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    state_BK = Mean().build(WIDTH, 9)(x_BLK, torch.ones(3, length, dtype=torch.bool), x_BLK[:, 0])
    assert (state_BK <= x_BLK.amax(1) + 1e-12).all()
    assert (state_BK >= x_BLK.amin(1) - 1e-12).all()


def test_mean_by_hand():
    x_BLK = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 6.0]]])
    mask_BL = torch.tensor([[False, True, True]])
    state = Mean().build(2, 3)(x_BLK, mask_BL, torch.zeros(1, 2))
    torch.testing.assert_close(state, torch.tensor([[2.0, 4.0]]))


def test_gru_steps_from_the_oldest_to_the_newest():
    module, weights, x_BLK, mask_BL, target_BK = world(Recurrent(cell="gru"))
    state_BK = module(x_BLK, mask_BL, target_BK)
    for row, length in enumerate(LENGTHS):
        state = torch.zeros(WIDTH).double()
        for x_K in x_BLK[row, 5 - length :]:
            heard = (weights["reader.cell.weight_ih_l0"] @ x_K + weights["reader.cell.bias_ih_l0"]).split(WIDTH)
            kept = (weights["reader.cell.weight_hh_l0"] @ state + weights["reader.cell.bias_hh_l0"]).split(WIDTH)
            reset, update = (heard[0] + kept[0]).sigmoid(), (heard[1] + kept[1]).sigmoid()
            state = update * state + (1 - update) * (heard[2] + reset * kept[2]).tanh()
        torch.testing.assert_close(state_BK[row], state)


def test_lstm_steps_from_the_oldest_to_the_newest():
    module, weights, x_BLK, mask_BL, target_BK = world(Recurrent(cell="lstm"))
    state_BK = module(x_BLK, mask_BL, target_BK)
    for row, length in enumerate(LENGTHS):
        state, memory = torch.zeros(WIDTH).double(), torch.zeros(WIDTH).double()
        for x_K in x_BLK[row, 5 - length :]:
            heard = weights["reader.cell.weight_ih_l0"] @ x_K + weights["reader.cell.bias_ih_l0"]
            kept = weights["reader.cell.weight_hh_l0"] @ state + weights["reader.cell.bias_hh_l0"]
            enter, forget, content, leave = (heard + kept).split(WIDTH)
            memory = forget.sigmoid() * memory + enter.sigmoid() * content.tanh()
            state = leave.sigmoid() * memory.tanh()
        torch.testing.assert_close(state_BK[row], state)


def test_convolution_is_the_strongest_answer_over_windows():
    module, weights, x_BLK, mask_BL, target_BK = world(Convolution(channels=3, sizes=(1, 3)))
    state_BK = module(x_BLK, mask_BL, target_BK)
    for row, length in enumerate(LENGTHS):
        history = x_BLK[row, 5 - length :]
        strongest = []
        for number, size in enumerate((1, 3)):
            kernel, bias = weights[f"windows.filters.{number}.weight"], weights[f"windows.filters.{number}.bias"]
            for channel in range(3):
                answers = []
                for last in range(length):
                    window = [(step, last - size + 1 + step) for step in range(size) if last - size + 1 + step >= 0]
                    answers.append(bias[channel] + sum(kernel[channel, :, step] @ history[place] for step, place in window))
                strongest.append(torch.stack(answers).max().clamp(min=0))
        torch.testing.assert_close(state_BK[row], weights["merge.weight"] @ torch.stack(strongest))


@pytest.mark.parametrize("heads", [1, 2])
def test_sasrec_is_the_newest_state_after_attention_by_hand(heads: int):
    module, weights, x_BLK, mask_BL, target_BK = world(SASRec(heads=heads, layers=2))
    state_BK = module(x_BLK, mask_BL, target_BK)
    for row, length in enumerate(LENGTHS):
        position = weights["positions.weight"]
        history = x_BLK[row, 5 - length :]
        states = [math.sqrt(WIDTH) * x_K + position[length - 1 - place] for place, x_K in enumerate(history)]
        for block in ("blocks.0", "blocks.1"):
            states = _block(states, weights, block, heads)
        torch.testing.assert_close(state_BK[row], norm(states[-1], weights, "norm"))


def _block(states: list[Tensor], weights: dict[str, Tensor], block: str, heads: int) -> list[Tensor]:
    size, after = WIDTH // heads, []
    normed = [norm(state, weights, f"{block}.attention_norm") for state in states]
    projected = [weights[f"{block}.queries_keys_values.weight"] @ state for state in normed]
    for place, state in enumerate(states):
        by_head = []
        for head in range(heads):
            query, keys, values = (
                [projected[older][part * WIDTH + head * size :][:size] for older in range(place + 1)] for part in range(3)
            )
            scores = torch.stack([query[-1] @ key / math.sqrt(size) for key in keys])
            shares = scores.exp() / scores.exp().sum()
            by_head.append(sum(share * value for share, value in zip(shares, values, strict=True)))
        seen = state + linear(torch.cat(by_head), weights, f"{block}.merge")
        hidden = linear(norm(seen, weights, f"{block}.feed_forward_norm"), weights, f"{block}.feed_forward.0").clamp(min=0)
        after.append(seen + linear(hidden, weights, f"{block}.feed_forward.3"))
    return after


class TestSASRec:
    @settings(max_examples=30)
    @given(place=st.integers(0, 4), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
    def test_a_change_of_one_element_reaches_no_older_state_and_every_newer(
        self, place: int, lengths: list[int], data: st.DataObject
    ):
        module, _, x_BLK, _, _ = world(SASRec(layers=data.draw(st.integers(1, 2)), heads=data.draw(st.sampled_from([1, 2]))))
        seed = data.draw(st.integers(0, 10**6))
        x_BLK = torch.randn(len(lengths), 5, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        mask_BL = torch.arange(5, 0, -1) <= torch.tensor(lengths)[:, None]
        changed = x_BLK.clone()
        changed[:, place] = torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
        moved_BL = (module.states(changed, mask_BL) - module.states(x_BLK, mask_BL)).abs().amax(2) > 1e-12
        here_BL = mask_BL & mask_BL[:, [place]] & (torch.arange(5) >= place)
        assert torch.equal(moved_BL & mask_BL, here_BL)

    def test_states_know_nothing_of_what_is_newer(self):
        module, _, x_BLK, mask_BL, _ = world(SASRec(layers=2))
        states_BLK = module.states(x_BLK, mask_BL)
        for place in range(1, 5):
            newer = x_BLK.clone()
            newer[:, place:] = 7.0
            changed_BLK = module.states(newer, mask_BL)
            seen = mask_BL[:, :place]
            torch.testing.assert_close(changed_BLK[:, :place][seen], states_BLK[:, :place][seen])
            assert not torch.allclose(changed_BLK[:, place][mask_BL[:, place]], states_BLK[:, place][mask_BL[:, place]])

    def test_knows_the_order(self):
        module, _, x_BLK, _, target_BK = world(SASRec(layers=1))
        all_BL = torch.ones(len(x_BLK), 5, dtype=torch.bool)
        swapped = x_BLK[:, [1, 0, 2, 3, 4]]
        assert not torch.allclose(module(swapped, all_BL, target_BK), module(x_BLK, all_BL, target_BK), atol=1e-3)

    def test_refuses_heads_that_do_not_share_out_the_width(self):
        with pytest.raises(UserError, match="pooling SASRec: expected elements whose width is a multiple of its 3 heads"):
            SASRec(heads=3).build(WIDTH, 6)


@pytest.mark.parametrize("hidden", [(5,), (5, 3)])
def test_din_weighs_each_element_by_a_unit_of_both(hidden: tuple[int, ...]):
    module, weights, x_BLK, mask_BL, target_BK = world(DIN(hidden=hidden))
    state_BK = module(x_BLK, mask_BL, target_BK)
    for row, length in enumerate(LENGTHS):
        total, target_K = torch.zeros(WIDTH).double(), target_BK[row]
        for x_K in x_BLK[row, 5 - length :]:
            both = torch.cat([x_K, target_K, x_K - target_K, x_K * target_K])
            state = linear(both, weights, "first").clamp(min=0)
            if len(hidden) == 2:
                state = linear(state, weights, "rest.steps.0").clamp(min=0)
            total = total + linear(state, weights, "weigh") * x_K
        torch.testing.assert_close(state_BK[row], total)


def test_din_does_not_normalise_its_weights():
    module, _, x_BLK, _, target_BK = world(DIN())
    one, mask_B1 = x_BLK[:, :1], torch.ones(len(x_BLK), 1, dtype=torch.bool)
    once, twice = module(one, mask_B1, target_BK), module(one.expand(-1, 2, -1), mask_B1.expand(-1, 2), target_BK)
    torch.testing.assert_close(twice, 2 * once)


def test_recency_weighs_by_a_power_of_age():
    x_BLK = torch.tensor([[[9.0], [3.0], [6.0]], [[9.0], [9.0], [5.0]]])
    mask_BL = torch.tensor([[False, True, True], [False, False, True]])
    state = Recency(power=1.0).build(1, 3)(x_BLK, mask_BL, x_BLK[:, -1])
    torch.testing.assert_close(state, torch.tensor([[(6 + 3 / 2) / 1.5], [5.0]]))
    plain = Recency(power=0.0).build(1, 3)(x_BLK, mask_BL, x_BLK[:, -1])
    torch.testing.assert_close(plain, Mean().build(1, 3)(x_BLK, mask_BL, x_BLK[:, -1]))
