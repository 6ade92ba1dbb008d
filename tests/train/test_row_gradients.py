"""The gradient of a table as distinct rows and their sums.

Shape letters: N indices, U distinct rows, R rows of the table, W width.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyrec.train.row_gradients import FEW, coalesce_rows


def parts(rows: list[int] | torch.Tensor, values_NW: torch.Tensor, count: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.as_tensor(rows).view(1, -1), values_NW, (count, values_NW.shape[1]), check_invariants=True
    )


def test_adds_up_by_hand():
    values_NW = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    rows_U, gradient_UW = coalesce_rows(parts([3, 0, 3], values_NW, 5))
    assert rows_U.tolist() == [0, 3]
    assert gradient_UW.tolist() == [[10.0, 20.0], [101.0, 202.0]]


@given(st.integers(0, 2**31), st.sampled_from([1, 5, FEW, FEW + 1, 3000]), st.sampled_from([1, 40, 2_000_000]))
def test_equals_the_sum_by_row(seed: int, count: int, rows: int):
    generator = torch.Generator().manual_seed(seed)
    index_N = torch.randint(rows, (count,), generator=generator)
    values_NW = torch.randn(count, 3, generator=generator)
    rows_U, gradient_UW = coalesce_rows(parts(index_N, values_NW, rows))
    expected_U, inverse_N = torch.unique(index_N, return_inverse=True)
    assert torch.equal(rows_U, expected_U)
    expected_UW = torch.zeros(len(expected_U), 3, dtype=torch.float64).index_add_(0, inverse_N, values_NW.double())
    torch.testing.assert_close(gradient_UW.double(), expected_UW, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [100, 5000])
def test_is_the_same_bit_for_bit_every_time(count: int):
    index_N, values_NW = torch.randint(50, (count,)), torch.randn(count, 16)
    first, second = (coalesce_rows(parts(index_N.clone(), values_NW.clone(), 50)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_leaves_the_gradient_as_it_was():
    index_N, values_NW = torch.randint(50, (5000,)), torch.randn(5000, 2)
    gradient = parts(index_N.clone(), values_NW.clone(), 50)
    coalesce_rows(gradient)
    assert torch.equal(gradient._indices()[0], index_N)
    assert torch.equal(gradient._values(), values_NW)


def test_of_no_parts_is_no_rows():
    rows_U, gradient_UW = coalesce_rows(parts([], torch.zeros(0, 4), 7))
    assert (rows_U.shape, gradient_UW.shape) == ((0,), (0, 4))


def test_a_dense_gradient_reaches_all_rows():
    gradient_RW = torch.randn(4, 2)
    rows_U, gradient_UW = coalesce_rows(gradient_RW)
    assert rows_U.tolist() == [0, 1, 2, 3]
    assert gradient_UW is gradient_RW


def test_a_coalesced_gradient_is_taken_as_it_is():
    gradient = parts(torch.randint(50, (5000,)), torch.randn(5000, 2), 50).coalesce()
    rows_U, gradient_UW = coalesce_rows(gradient)
    assert torch.equal(rows_U, gradient.indices()[0])
    assert torch.equal(gradient_UW, gradient.values())
