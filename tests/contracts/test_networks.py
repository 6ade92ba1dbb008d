"""What every shared network keeps, and the identities between networks and their layers.

Shape letters: B rows, D width of all features together, E experts, F fields, K width of a field.
"""

from collections.abc import Sequence
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from polyrec import MMoE, SharedBottom
from polyrec.layers.experts import Experts
from polyrec.layers.products import FieldProducts
from polyrec.networks.network import Network, SharedNetwork

ROWS = 48
WIDTHS = (4, 6, 4)
TASKS = ("like", "stars", "seconds")


def build(network: Network, tasks: Sequence[str], widths: Sequence[int] = WIDTHS) -> SharedNetwork:
    """Return the module away from its start, where what starts at zero would hide mistakes."""
    torch.manual_seed(0)
    shared = network.build(widths, tasks)
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return shared.eval()


def inputs(rows: int = ROWS) -> Tensor:
    return torch.randn(rows, sum(WIDTHS), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[True, False], ids=["products", "plain"])
def variant(request: pytest.FixtureRequest, network: Network) -> Network:
    """The network with products of fields and without."""
    return network.replace(products=request.param)


@pytest.mark.parametrize("tasks", [TASKS[:count] for count in (1, 2, 3)], ids=["1", "2", "3"])
class TestHiddenStates:
    def test_are_one_a_task_of_the_width_told(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        hidden = shared(inputs(), tasks)
        assert list(hidden) == list(tasks)
        for state in hidden.values():
            assert state.shape == (ROWS, shared.width)
            assert torch.isfinite(state).all()

    def test_of_some_tasks_are_those_of_all(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        whole = shared(inputs(), tasks)
        for count in range(1, len(tasks) + 1):
            for some in combinations(reversed(tasks), count):
                hidden = shared(inputs(), some)
                assert hidden.keys() == set(some)
                for task in some:
                    torch.testing.assert_close(hidden[task], whole[task])

    def test_of_a_row_depend_on_no_other_row(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        rows = [7, 3, 3, 40]
        some, whole = shared(inputs()[rows], tasks), shared(inputs(), tasks)
        for task in tasks:
            torch.testing.assert_close(some[task], whole[task][rows], rtol=1e-5, atol=1e-6)

    def test_repeat_themselves_where_nothing_trains(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        first, second = shared(inputs(), tasks), shared(inputs(), tasks)
        assert all(torch.equal(first[task], second[task]) for task in tasks)

    def test_depend_on_every_field(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        x_BD = inputs().requires_grad_()
        for state in shared(x_BD, tasks).values():
            (slope_BD,) = torch.autograd.grad(state.square().sum(), x_BD, retain_graph=True)
            assert all(field.abs().sum() > 0 for field in slope_BD.split(WIDTHS, 1))

    def test_teach_every_parameter(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks).train()
        sum(state.square().mean() for state in shared(inputs(), tasks).values()).backward()
        still = [name for name, parameter in shared.named_parameters() if parameter.grad is None or not parameter.grad.any()]
        assert still == []

    def test_survive_a_change_of_module(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        other = variant.build(WIDTHS, tasks).eval()
        other.load_state_dict(shared.state_dict())
        there, back = shared(inputs(), tasks), other(inputs(), tasks)
        assert all(torch.equal(there[task], back[task]) for task in tasks)


class TestGates:
    def test_share_out_one(self, variant: Network):
        gates = build(variant, TASKS).gates(inputs(), TASKS)
        assert not gates or list(gates) == list(TASKS)
        for gate_BE in gates.values():
            assert len(gate_BE) == ROWS
            assert (gate_BE >= 0).all()
            torch.testing.assert_close(gate_BE.sum(1), torch.ones(ROWS))

    def test_of_one_task_are_those_among_all(self, variant: Network):
        shared = build(variant, TASKS)
        whole = shared.gates(inputs(), TASKS)
        for task in whole:
            torch.testing.assert_close(shared.gates(inputs(), [task]), {task: whole[task]})


class TestMMoE:
    def test_starts_with_equal_gates(self):
        gates = MMoE(experts=4).build(WIDTHS, TASKS).gates(inputs(), TASKS)
        for gate_BE in gates.values():
            torch.testing.assert_close(gate_BE, torch.full((ROWS, 4), 0.25))

    def test_gives_tasks_states_of_their_own(self):
        hidden = build(MMoE(experts=3, hidden=(8,)), TASKS)(inputs(), TASKS)
        assert not torch.allclose(hidden["like"], hidden["stars"])

    @pytest.mark.parametrize("products", [True, False])
    @pytest.mark.parametrize("hidden", [(8,), (16, 8, 4)])
    def test_with_one_expert_is_a_shared_bottom(self, products: bool, hidden: tuple[int, ...]):
        mixture = build(MMoE(experts=1, hidden=hidden, products=products), TASKS)
        bottom = build(SharedBottom(hidden=hidden, products=products), TASKS)
        learned = mixture.state_dict()
        copied = {}
        for layer, name in enumerate(sorted(name for name in bottom.state_dict() if name.endswith("weight"))):
            copied[name] = learned[f"experts.weights.{layer}"][0].T
            copied[name.replace("weight", "bias")] = learned[f"experts.biases.{layer}"][0, 0]
        bottom.load_state_dict(copied)
        one, other = mixture(inputs(), TASKS), bottom(inputs(), TASKS)
        for task in TASKS:
            torch.testing.assert_close(one[task], other[task], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("experts", [1, 3])
@pytest.mark.parametrize("hidden", [(5,), (7, 5), (7, 6, 5)])
def test_batched_experts_are_as_many_perceptrons(experts: int, hidden: tuple[int, ...]):
    torch.manual_seed(0)
    batched, x_BD = Experts(experts, 9, hidden), torch.randn(ROWS, 9)
    for expert, states_BH in enumerate(batched(x_BD)):
        expected = x_BD
        for weight_EDH, bias_E1H in zip(batched.weights, batched.biases, strict=True):
            expected = functional.linear(expected, weight_EDH[expert].T, bias_E1H[expert, 0]).relu()
        assert states_BH.shape == (ROWS, batched.width)
        torch.testing.assert_close(states_BH, expected)


field_widths = st.lists(st.sampled_from((1, 2, 3, 5)), min_size=1, max_size=7)


class TestFieldProducts:
    @given(widths=field_widths, seed=st.integers(0, 10**6))
    def test_are_the_sums_over_all_pairs(self, widths: list[int], seed: int):
        x_BD = torch.randn(4, sum(widths), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        products = FieldProducts(widths)
        expected = torch.cat([x_BD, *_pairs(x_BD, widths)], 1)
        assert products.width == expected.shape[1]
        torch.testing.assert_close(products(x_BD), expected)

    @given(widths=field_widths, data=st.data())
    def test_lose_nothing_but_the_pairs_of_a_field_at_zero(self, widths: list[int], data: st.DataObject):
        masked = data.draw(st.integers(0, len(widths) - 1))
        seed = data.draw(st.integers(0, 10**6))
        fields = list(
            torch.randn(4, sum(widths), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).split(widths, 1)
        )
        fields[masked] = torch.zeros_like(fields[masked])
        found = FieldProducts(widths)(torch.cat(fields, 1))[:, sum(widths) :]
        kept = [position for position in range(len(widths)) if position != masked]
        pairs = (
            _pairs(torch.cat([fields[position] for position in kept], 1), [widths[position] for position in kept])
            if kept
            else []
        )
        expected = {sums.shape[1]: sums for sums in pairs}
        several = [width for width in sorted(set(widths)) if widths.count(width) > 1]
        for width, sums in zip(several, found.split(several, 1) if several else (), strict=True):
            torch.testing.assert_close(sums, expected.get(width, torch.zeros_like(sums)))

    def test_switched_off_leave_the_fields_alone(self):
        products = FieldProducts(WIDTHS, enabled=False)
        assert products.width == sum(WIDTHS)
        assert torch.equal(products(inputs()), inputs())


def _pairs(x_BD: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Return for each width that several fields have, in rising order, the sum of the products of all pairs."""
    fields = x_BD.split(list(widths), 1)
    found: dict[int, Tensor] = {}
    for first in range(len(fields)):
        for second in range(first + 1, len(fields)):
            if widths[first] == widths[second]:
                found[widths[first]] = found.get(widths[first], 0) + fields[first] * fields[second]
    return [found[width] for width in sorted(found)]
