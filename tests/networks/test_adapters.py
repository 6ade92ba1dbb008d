"""Adapters: each task's own ear for some features. Shape letters: B rows, D width of all features together."""

import polars as pl
import pytest
import torch

from polyrec import Categorical, MMoE, Recommender, SharedBottom, Training, UserError
from polyrec.networks.adapters import AdaptedNetwork, Adapters
from polyrec.networks.beside import Beside
from polyrec.networks.network import Network
from polyrec.networks.stem import STEM

FIELDS = {"user_id": 3, "text": 4, "age": 2}
TASKS = ("like", "stars")
X_BD = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))


def adapted(network: Network | None = None, tasks: tuple[str, ...] = TASKS, **fields: object) -> AdaptedNetwork:
    torch.manual_seed(0)
    network = network or MMoE(experts=2, hidden=(6,))
    adapters = Adapters.model_validate({"features": ("text",), "rank": 2, **fields})
    adapted = adapters.build(network.build(FIELDS, tasks), FIELDS, tasks, network.copies(tasks))
    assert isinstance(adapted, AdaptedNetwork)
    return adapted


def moved(network: AdaptedNetwork) -> AdaptedNetwork:
    torch.manual_seed(1)
    torch.nn.init.normal_(network.up)
    return network


def test_at_first_the_network_is_the_one_without_adapters():
    network = adapted()
    plain = network.shared(X_BD, TASKS)
    assert all(torch.equal(state, plain[name]) for name, state in network(X_BD, TASKS).items())
    assert network.gates(X_BD, TASKS).keys() == network.shared.gates(X_BD, TASKS).keys() == set(TASKS)


def test_a_task_hears_a_low_rank_map_of_its_own():
    network = moved(adapted())
    residuals = network.residuals(X_BD, TASKS)
    for place, name in enumerate(TASKS):
        expected = X_BD[:, 3:7] @ network.down[place] @ network.up[place]
        torch.testing.assert_close(residuals[name], expected)
        torch.testing.assert_close(network(X_BD, TASKS)[name], network.shared(X_BD, TASKS)[name] + expected)
    torch.testing.assert_close(network.residuals(X_BD, ("stars",))["stars"], residuals["stars"])


def test_only_the_features_named_are_heard():
    network = moved(adapted())
    other = X_BD.clone()
    other[:, :3] = 5.0
    assert torch.equal(network.residuals(other, TASKS)["like"], network.residuals(X_BD, TASKS)["like"])


@pytest.mark.parametrize("stops", [True, False])
def test_the_gradient_to_the_features_can_be_stopped(stops: bool):
    network = moved(adapted(stop_gradient=stops))
    x_BD = X_BD.clone().requires_grad_()
    sum(residual.sum() for residual in network.residuals(x_BD, TASKS).values()).backward()
    assert (x_BD.grad is None) == stops
    assert network.up.grad is not None


def test_all_copies_of_a_feature_are_heard():
    network = adapted(STEM(hidden=(6,)))
    assert len(network.get_buffer("adapted_F")) == 4 * STEM(hidden=(6,)).copies(TASKS)


def test_one_user_beside_many_items_has_the_same_states():
    network = moved(adapted()).eval()
    varying_O, fixed_F = torch.arange(3, 9), torch.arange(3)
    rows = X_BD.clone()
    rows[:, :3] = X_BD[0, :3]
    beside = Beside(network, varying_O, fixed_F, torch.ones(9))
    for name, state in beside(X_BD[0, :3], rows[:, 3:], TASKS).items():
        torch.testing.assert_close(state, network(rows, TASKS)[name])


def test_a_feature_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"adapter of the feature 'txt'.*'text'"):
        adapted(features=("txt",))


def test_are_learned_and_written_in_yaml(small: Recommender, world: pl.DataFrame):
    network = SharedBottom(hidden=(8,), adapters=Adapters(features=("user_id",), rank=2))
    spec = small.replace(network=network, training=Training(epochs=1, batch_size=256))
    assert isinstance(spec.user[0], Categorical)
    again = Recommender.from_yaml(spec.to_yaml())
    assert again == spec
    model = again.fit(world.head(600), progress=False).model
    assert isinstance(model.network, AdaptedNetwork)
    assert (model.network.up != 0).any()
