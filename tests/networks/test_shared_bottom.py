"""SharedBottom: by hand, by plain layers, and what all tasks have in common.

Shape letters: B rows, D width of all features together.
"""

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec import GradNorm, Recommender, SharedBottom, UPGrad, UserError

FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")


def inputs(rows: int = 9, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_gives_the_numbers_found_by_hand():
    """At x = (2, -1): 2 x - y - 1 = 4 and relu(y) = 0 below; above, half the first and twice the second less 1: 1 and 0."""
    shared = SharedBottom(hidden=(2, 2)).build({"x": 1, "y": 1}, ("like", "stars"))
    state = {
        "bottom.steps.0.weight": torch.tensor([[2.0, -1.0], [0.0, 1.0]]),
        "bottom.steps.0.bias": torch.tensor([-1.0, 0.0]),
        "bottom.steps.2.weight": torch.tensor([[0.5, 2.0], [0.0, 2.0]]),
        "bottom.steps.2.bias": torch.tensor([-1.0, -1.0]),
    }
    shared.load_state_dict(state)
    expected = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(shared(torch.tensor([[2.0, -1.0]]), ("like", "stars")), {"like": expected, "stars": expected})


@pytest.mark.parametrize("hidden", [(7,), (7, 5), (6, 5, 4)])
def test_is_layer_upon_layer(build, hidden: tuple[int, ...]):
    shared = build(SharedBottom(hidden=hidden), FIELDS, TASKS)
    x_BD = expected = inputs()
    for weight, bias in zip(*[iter(shared.state_dict().values())] * 2, strict=True):
        expected = (expected @ weight.T + bias).clamp(min=0)
    assert expected.any()
    torch.testing.assert_close(shared(x_BD, TASKS), dict.fromkeys(TASKS, expected))


def test_shares_every_weight_among_all_tasks(build):
    shared = build(SharedBottom(hidden=(7, 5)), FIELDS, TASKS)
    slopes = [torch.autograd.grad(shared(inputs(), [task])[task].sum(), [*shared.parameters()]) for task in TASKS]
    assert all(slope.any() for slope in slopes[0])
    for others in slopes[1:]:
        assert all(torch.equal(one, other) for one, other in zip(slopes[0], others, strict=True))


def test_last_shared_layer_is_the_last(build):
    shared = build(SharedBottom(hidden=(7, 5), dropout=0.1), FIELDS, TASKS)
    assert [tuple(weight.shape) for weight in shared.last_shared()] == [(5, 7), (5,)]


@settings(max_examples=20)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 10**6))
def test_without_biases_it_scales_with_its_input(scale: float, seed: int):
    torch.manual_seed(seed)
    shared = SharedBottom(hidden=(7, 5)).build(FIELDS, TASKS).double()
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    one, other = shared(inputs(seed=seed), TASKS), shared(scale * inputs(seed=seed), TASKS)
    torch.testing.assert_close(other["like"], scale * one["like"])


def test_without_a_layer_the_tasks_share_the_features_alone(small: Recommender, world: pl.DataFrame):
    network = SharedBottom(hidden=()).build({"user_id": 3, "age": 2}, ("like", "stars"))
    x_BD = torch.randn(4, 5)
    assert torch.equal(network(x_BD, ("stars",))["stars"], x_BD)
    assert network.width == 5
    spec = small.replace(network=SharedBottom(hidden=()), balancing=UPGrad(), training=small.training.replace(epochs=1))
    assert spec.fit(world.head(400), progress=False).curves
    with pytest.raises(UserError, match="GradNorm: expected a layer that all tasks share"):
        spec.replace(balancing=GradNorm()).fit(world.head(400), progress=False)
