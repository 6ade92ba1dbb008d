"""Propagation against the dense matrix of the paper. Shape letters: U nodes on the left, I on the right, K width."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec.layers.propagation import Propagation

LEFT, RIGHT, WIDTH = 5, 4, 3
edges = st.lists(st.tuples(st.integers(0, LEFT - 1), st.integers(0, RIGHT - 1)), max_size=25)


def tables(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    left_UK, right_IK = (torch.randn(rows, WIDTH, dtype=torch.float64, generator=generator) for rows in (LEFT, RIGHT))
    return left_UK.requires_grad_(), right_IK.requires_grad_()


def propagation(pairs: list[tuple[int, int]], layers: int) -> Propagation:
    ends = torch.tensor(pairs, dtype=torch.int32).reshape(-1, 2)
    return Propagation(ends[:, 0], ends[:, 1], layers).double()


def dense(pairs: list[tuple[int, int]], left_UK: Tensor, right_IK: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """Return the mean over layers of powers of the normalised adjacency matrix of all nodes, D^-1/2 A D^-1/2."""
    adjacency = torch.zeros(LEFT + RIGHT, LEFT + RIGHT, dtype=torch.float64)
    for left, right in pairs:
        adjacency[left, LEFT + right] = adjacency[LEFT + right, left] = 1.0
    root = adjacency.sum(1).clamp(min=1).rsqrt()
    normalised = root[:, None] * adjacency * root
    layer = mean = torch.cat([left_UK, right_IK])
    for _ in range(layers):
        layer = normalised @ layer
        mean = mean + layer
    mean = mean / (layers + 1)
    return mean[:LEFT], mean[LEFT:]


@settings(max_examples=60)
@given(pairs=edges, layers=st.integers(0, 4), seed=st.integers(0, 100))
def test_values_and_gradients_are_those_of_the_dense_matrix(pairs: list[tuple[int, int]], layers: int, seed: int):
    ours, theirs = tables(seed), tables(seed)
    propagated, expected = propagation(pairs, layers)(*ours), dense(pairs, *theirs, layers)
    for one, other in zip(propagated, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    for outputs in (propagated, expected):
        sum((output * torch.arange(1, output.numel() + 1).view_as(output)).sum() for output in outputs).backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-5)


@settings(max_examples=30)
@given(pairs=edges.filter(len), data=st.data())
def test_an_edge_given_twice_or_in_another_place_counts_once(pairs: list[tuple[int, int]], data: st.DataObject):
    again = data.draw(st.permutations(pairs + data.draw(st.lists(st.sampled_from(pairs)))))
    for one, other in zip(propagation(pairs, 2)(*tables()), propagation(again, 2)(*tables()), strict=True):
        assert torch.equal(one, other)


def test_one_layer_by_hand():
    """The left node 0 has two neighbours, of degrees 1 and 2: 1/sqrt(2 * 1) and 1/sqrt(2 * 2) are their weights."""
    left_UK, right_IK = torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [20.0]])
    graph = Propagation(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 1)
    left_out, _ = graph(left_UK, right_IK)
    root = 0.5**0.5
    torch.testing.assert_close(left_out, torch.tensor([[(1 + 10 * root + 20 * 0.5) / 2], [(3 + 20 * root) / 2]]))


def test_gradients_can_be_differentiated_again():
    graph = propagation([(0, 0), (0, 1), (3, 1), (4, 3)], 2)
    assert torch.autograd.gradgradcheck(lambda left, right: graph(left, right)[0].sin(), tables())


def test_degrees_count_distinct_edges_of_as_many_nodes_as_asked_for():
    assert propagation([(0, 0), (2, 1), (0, 0), (2, 3)], 1).left_degrees(LEFT).tolist() == [1, 0, 2, 0, 0]


@pytest.mark.parametrize("pairs", [[], [(1, 1)]])
def test_has_no_weights_and_nothing_to_save(pairs: list[tuple[int, int]]):
    graph = propagation(pairs, 2)
    assert list(graph.parameters()) == []
    assert graph.state_dict() == {}
