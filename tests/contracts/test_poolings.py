"""What every pooling keeps. Shape letters: B rows, L length of a history, K width of an element."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec.poolings.pooling import Pooling, PoolingModule

WIDTH, LONGEST = 8, 12
NEAR = {"rtol": 1e-5, "atol": 1e-5}


@dataclass(frozen=True)
class Histories:
    """Histories of given lengths, padded at the front, and each row's own element."""

    x_BLK: Tensor
    mask_BL: Tensor
    target_BK: Tensor

    def padded(self, further: int, content: float) -> "Histories":
        """Return the same histories in a wider batch with something else in the padding."""
        rows, length, width = self.x_BLK.shape
        x_BLK = torch.full((rows, length + further, width), content)
        x_BLK[:, further:] = torch.where(self.mask_BL[:, :, None], self.x_BLK, content)
        nothing = torch.zeros(rows, further, dtype=torch.bool)
        return Histories(x_BLK, torch.cat([nothing, self.mask_BL], 1), self.target_BK)

    def rows(self, rows: list[int]) -> "Histories":
        return Histories(self.x_BLK[rows], self.mask_BL[rows], self.target_BK[rows])

    def pooled(self, module: PoolingModule) -> Tensor:
        return module(self.x_BLK, self.mask_BL, self.target_BK)


def make(lengths: list[int], seed: int = 1) -> Histories:
    generator = torch.Generator().manual_seed(seed)
    longest = max(1, *lengths, 1)
    x_BLK = torch.randn(len(lengths), longest, WIDTH, generator=generator)
    mask_BL = torch.arange(longest, 0, -1) <= torch.tensor(lengths)[:, None]
    return Histories(x_BLK, mask_BL, torch.randn(len(lengths), WIDTH, generator=generator))


def build(pooling: Pooling) -> PoolingModule:
    """Return the module away from its start, where what starts at zero would hide mistakes."""
    torch.manual_seed(0)
    module = pooling.build(WIDTH, LONGEST)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def weighted(output_BK: Tensor) -> Tensor:
    """Return one number in which every output has a part of its own."""
    return (output_BK * torch.linspace(1, 2, output_BK.shape[1])).sin().sum()


some_lengths = st.lists(st.integers(0, LONGEST), min_size=1, max_size=8)


@settings(max_examples=30)
@given(lengths=some_lengths, further=st.integers(0, 20), content=st.floats(-1e6, 1e6, width=32))
def test_padding_changes_nothing_however_much_and_whatever_it_holds(
    pooling: Pooling, lengths: list[int], further: int, content: float
):
    module, histories = build(pooling), make(lengths)
    torch.testing.assert_close(histories.padded(further, content).pooled(module), histories.pooled(module), **NEAR)


@settings(max_examples=20)
@given(lengths=some_lengths, data=st.data())
def test_the_vector_of_a_row_depends_on_no_other_row(pooling: Pooling, lengths: list[int], data: st.DataObject):
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=10))
    module, histories = build(pooling), make(lengths)
    torch.testing.assert_close(histories.rows(rows).pooled(module), histories.pooled(module)[rows], **NEAR)


class TestVector:
    def test_is_as_wide_as_an_element_and_finite(self, pooling: Pooling):
        pooled = make([0, 1, 2, LONGEST]).pooled(build(pooling))
        assert pooled.shape == (4, WIDTH)
        assert torch.isfinite(pooled).all()

    @pytest.mark.parametrize("lengths", [[0], [0, 0], [0, 5, LONGEST]], ids=str)
    def test_of_an_empty_history_is_zero(self, pooling: Pooling, lengths: list[int]):
        pooled = make(lengths).padded(3, 1e3).pooled(build(pooling))
        assert torch.equal(pooled[0], torch.zeros(WIDTH))

    def test_of_a_history_is_not_zero(self, pooling: Pooling):
        assert (make([1, 2, LONGEST]).pooled(build(pooling)).abs().sum(1) > 0).all()

    def test_of_an_empty_history_moves_no_parameter(self, pooling: Pooling):
        module = build(pooling)
        empty = make([0, 0])
        empty.x_BLK.requires_grad_()
        (empty.pooled(module).sum() + sum(0 * parameter.sum() for parameter in module.parameters())).backward()
        assert [name for name, parameter in module.named_parameters() if parameter.grad.any()] == []

    def test_depends_on_each_element(self, pooling: Pooling):
        module, histories = build(pooling), make([LONGEST])
        for position in range(LONGEST):
            other = Histories(histories.x_BLK.clone(), histories.mask_BL, histories.target_BK)
            other.x_BLK[0, position] *= -3
            assert not torch.allclose(other.pooled(module), histories.pooled(module), atol=1e-4)

    def test_teaches_every_parameter(self, pooling: Pooling):
        module = build(pooling)
        histories = make([*range(LONGEST + 1)])
        histories.x_BLK.requires_grad_()
        weighted(histories.pooled(module)).backward()
        slopes = {name: parameter.grad for name, parameter in module.named_parameters()}
        assert [name for name, slope in slopes.items() if slope is None or slope.abs().max() < 1e-6] == []

    def test_depends_on_the_target_where_the_kind_says_so_and_only_there(self, pooling: Pooling):
        module, histories = build(pooling), make([1, 5, LONGEST])
        other = Histories(histories.x_BLK, histories.mask_BL, -2 * histories.target_BK)
        if pooling.sees_target:
            assert ((other.pooled(module) - histories.pooled(module)).abs().sum(1) > 1e-3).all()
        else:
            assert torch.equal(other.pooled(module), histories.pooled(module))

    def test_repeats_itself_where_nothing_trains(self, pooling: Pooling):
        module, histories = build(pooling), make([0, 3, LONGEST])
        assert torch.equal(histories.pooled(module), histories.pooled(module))

    def test_survives_a_change_of_module(self, pooling: Pooling):
        module, other = build(pooling), pooling.build(WIDTH, LONGEST).eval()
        other.load_state_dict(module.state_dict())
        histories = make([0, 3, LONGEST])
        assert torch.equal(histories.pooled(module), histories.pooled(other))
