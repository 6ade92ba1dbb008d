"""What every trunk keeps. Shape letters: B rows, D width of all fields together, H trunk width."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec.trunks.trunk import Trunk, TrunkModule

ROWS = 16
WIDTHS = (4, 6, 4, 8)
"""Fields of unequal widths; the examples of trunks have tokens of 8 numbers, so one field is such a token already."""


def build(trunk: Trunk, widths: Sequence[int] = WIDTHS) -> TrunkModule:
    """Return the module away from its start, where what starts at zero would hide mistakes."""
    torch.manual_seed(0)
    module = trunk.build(widths)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def inputs(widths: Sequence[int] = WIDTHS, rows: int = ROWS) -> Tensor:
    return torch.randn(rows, sum(widths), generator=torch.Generator().manual_seed(1))


def weighted(output_BH: Tensor) -> Tensor:
    """Return one number in which every output has a part of its own."""
    return (output_BH * torch.linspace(1, 2, output_BH.shape[1])).sin().sum()


@pytest.mark.parametrize("widths", [WIDTHS, (8, 8, 8), (5,), (1, 2, 3, 4, 5)], ids=str)
class TestVector:
    def test_is_of_the_width_told_and_finite(self, trunk: Trunk, widths: Sequence[int]):
        module = build(trunk, widths)
        output_BH = module(inputs(widths))
        assert output_BH.shape == (ROWS, module.width)
        assert torch.isfinite(output_BH).all()

    def test_depends_on_every_field(self, trunk: Trunk, widths: Sequence[int]):
        x_BD = inputs(widths).requires_grad_()
        (slope_BD,) = torch.autograd.grad(weighted(build(trunk, widths)(x_BD)), x_BD)
        assert all(field.abs().sum() > 0 for field in slope_BD.split(list(widths), 1))

    def test_of_fields_at_zero_is_finite(self, trunk: Trunk, widths: Sequence[int]):
        assert torch.isfinite(build(trunk, widths)(torch.zeros(3, sum(widths)))).all()

    def test_survives_a_change_of_module(self, trunk: Trunk, widths: Sequence[int]):
        module, other = build(trunk, widths), trunk.build(widths).eval()
        other.load_state_dict(module.state_dict())
        assert torch.equal(module(inputs(widths)), other(inputs(widths)))


@pytest.mark.parametrize("widths", [WIDTHS, (8, 8, 8)], ids=str)
def test_every_parameter_learns(trunk: Trunk, widths: Sequence[int]):
    module = build(trunk, widths)
    weighted(module(inputs(widths))).backward()
    slopes = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert [name for name, slope in slopes.items() if slope is None or slope.abs().max() < 1e-6] == []


@settings(max_examples=20)
@given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=2 * ROWS))
def test_the_vector_of_a_row_depends_on_no_other_row(trunk: Trunk, rows: list[int]):
    module = build(trunk)
    torch.testing.assert_close(module(inputs()[rows]), module(inputs())[rows], rtol=1e-5, atol=1e-6)


def test_two_fields_that_change_places_change_the_vector(trunk: Trunk):
    """Fields of one width share a map, so only their identity or place tells them apart."""
    module = build(trunk, (4, 4))
    first_B4, second_B4 = inputs((4, 4)).split(4, 1)
    assert not torch.allclose(module(torch.cat([second_B4, first_B4], 1)), module(inputs((4, 4))), atol=1e-3)


def test_dropout_is_for_training_alone(trunk: Trunk):
    dropping = build(trunk.replace(dropout=0.5))
    assert torch.equal(dropping(inputs()), dropping(inputs()))
    dropping.train()
    assert not torch.equal(dropping(inputs()), dropping(inputs()))
    steady = build(trunk.replace(dropout=0.0)).train()
    torch.testing.assert_close(steady(inputs()), steady(inputs()))
