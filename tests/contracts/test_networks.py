"""What every shared network keeps, and the products of fields that stand in their inputs.

Shape letters: B rows, D width of all features together (times S copies of their tables), E experts, F fields, K width of a
field.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec.layers.products import FieldProducts
from polyrec.networks.beside import Beside
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork
from polyrec.trunks.mlp import MLP

ROWS = 48
FIELDS = {"user_id": 4, "item_id": 6, "city": 4}
TASKS = ("like", "stars", "seconds")
ORDERS = [("like",), ("seconds", "like", "stars")]


def build(network: Network, tasks: Sequence[str], fields: Mapping[str, int] = FIELDS) -> SharedNetwork:
    """Return the module away from its start, where what starts at zero would hide mistakes."""
    torch.manual_seed(0)
    shared = network.among(tasks).build(fields, tasks)
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for buffer in shared.buffers():
            buffer.mul_(1 + 0.5 * torch.rand_like(buffer)).add_(0.1 * torch.rand_like(buffer))
    return shared.eval()


@cache
def built(network: Network, tasks: Sequence[str]) -> SharedNetwork:
    """Return what `build` does, once for all examples that a law is tried on."""
    return build(network, tasks)


def inputs(network: Network, tasks: Sequence[str], rows: int = ROWS, seed: int = 1, scale: float = 1.0) -> Tensor:
    """Return fields side by side, once for each copy of their tables."""
    width = sum(FIELDS.values()) * network.copies(tasks)
    return scale * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["plain", "products", "trunk"])
def variant(request: pytest.FixtureRequest, network: Network) -> Network:
    """The network with products of fields and without, and over a trunk."""
    return network.replace(products=request.param == "products", trunk=MLP(hidden=(12,)) if request.param == "trunk" else None)


@pytest.mark.parametrize("tasks", ORDERS, ids=["1", "3"])
class TestHiddenStates:
    def test_are_one_a_task_of_the_width_told(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks)
        hidden = shared(inputs(variant, tasks), tasks)
        assert list(hidden) == list(tasks)
        for state in hidden.values():
            assert state.shape == (ROWS, shared.width)
            assert torch.isfinite(state).all()

    def test_of_some_tasks_are_those_of_all(self, variant: Network, tasks: Sequence[str]):
        shared, x_BD = build(variant, tasks), inputs(variant, tasks)
        whole = shared(x_BD, tasks)
        for count in range(1, len(tasks) + 1):
            for some in combinations(reversed(tasks), count):
                hidden = shared(x_BD, some)
                assert list(hidden) == list(some)
                for task in some:
                    torch.testing.assert_close(hidden[task], whole[task])

    def test_have_nothing_to_do_with_the_names_of_tasks(self, variant: Network, tasks: Sequence[str]):
        names = dict(zip(tasks, sorted(tasks, reverse=True), strict=True))
        groups = tuple(tuple(names[name] for name in group) for group in getattr(variant.among(tasks), "groups", ()))
        renamed = variant.replace(groups=groups) if groups else variant
        x_BD = inputs(variant, tasks)
        there, back = build(variant, tasks)(x_BD, tasks), build(renamed, [*names.values()])(x_BD, [*names.values()])
        assert all(torch.equal(there[task], back[name]) for task, name in names.items())

    def test_of_a_row_depend_on_no_other_row(self, variant: Network, tasks: Sequence[str]):
        """This holds where nothing trains; in training batch normalisation relates rows."""
        shared, x_BD = build(variant, tasks), inputs(variant, tasks)
        rows = [7, 3, 3, 40]
        some, whole = shared(x_BD[rows], tasks), shared(x_BD, tasks)
        for task in tasks:
            torch.testing.assert_close(some[task], whole[task][rows], rtol=1e-5, atol=1e-6)

    def test_are_none_for_no_rows_and_one_for_one(self, variant: Network, tasks: Sequence[str]):
        for rows in (0, 1):
            shared = build(variant, tasks).train()
            for state in shared(inputs(variant, tasks, rows), tasks).values():
                assert state.shape == (rows, shared.width)
                assert torch.isfinite(state).all()

    def test_repeat_themselves_where_nothing_trains(self, variant: Network, tasks: Sequence[str]):
        shared, x_BD = build(variant, tasks), inputs(variant, tasks)
        first, second = shared(x_BD, tasks), shared(x_BD, tasks)
        assert all(torch.equal(first[task], second[task]) for task in tasks)

    def test_depend_on_every_field(self, variant: Network, tasks: Sequence[str]):
        """Of several copies of the tables, a task may be told not to learn in some: then not in any field of them."""
        shared, copies = build(variant, tasks), variant.copies(tasks)
        x_BD = inputs(variant, tasks).requires_grad_()
        for state in shared(x_BD, tasks).values():
            (slope_BD,) = torch.autograd.grad(state.square().sum(), x_BD, retain_graph=True)
            reached = [
                all(f.any() for f in copy.split([*FIELDS.values()], 1)) for copy in slope_BD.chunk(copies, 1) if copy.any()
            ]
            assert reached
            assert all(reached)

    def test_hear_every_copy_of_every_field(self, variant: Network, tasks: Sequence[str]):
        shared, x_BD = build(variant, tasks), inputs(variant, tasks)
        whole, start = shared(x_BD, tasks), 0
        for width in [*FIELDS.values()] * variant.copies(tasks):
            other_BD = x_BD.clone()
            other_BD[:, start : start + width] = 0
            assert all((state - whole[task]).abs().max() > 1e-6 for task, state in shared(other_BD, tasks).items())
            start += width

    def test_teach_every_parameter(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks).train()
        sum(state.square().mean() for state in shared(inputs(variant, tasks), tasks).values()).backward()
        still = [name for name, parameter in shared.named_parameters() if parameter.grad is None or not parameter.grad.any()]
        assert still == []

    def test_teach_the_last_shared_weights_from_every_task(self, variant: Network, tasks: Sequence[str]):
        shared = build(variant, tasks).train()
        last, every = shared.last_shared(), [*shared.parameters()]
        assert last
        assert all(any(parameter is other for other in every) for parameter in last)
        for state in shared(inputs(variant, tasks), tasks).values():
            for slope in torch.autograd.grad((state * torch.rand_like(state)).sum(), last, retain_graph=True):
                assert slope.any()

    def test_survive_a_change_of_module(self, variant: Network, tasks: Sequence[str]):
        shared, x_BD = build(variant, tasks), inputs(variant, tasks)
        other = variant.among(tasks).build(FIELDS, tasks).eval()
        other.load_state_dict(shared.state_dict())
        there, back = shared(x_BD, tasks), other(x_BD, tasks)
        assert all(torch.equal(there[task], back[task]) for task in tasks)


@pytest.mark.parametrize("fixed", [["user_id"], ["city", "item_id"], ["user_id", "item_id", "city"], []], ids="+".join)
class TestFeaturesThatAreTheSameInAllRows:
    def test_can_be_given_once(self, variant: Network, fixed: list[str]):
        shared, copies = build(variant, TASKS), variant.copies(TASKS)
        is_fixed_D = torch.cat([torch.full((width,), name in fixed) for name, width in FIELDS.items()]).repeat(copies)
        varying_O, fixed_F = (~is_fixed_D).nonzero().squeeze(1), is_fixed_D.nonzero().squeeze(1)
        for hidden in ((), (0, 1), (4, 9), range(4)):
            visible_D = torch.ones(len(is_fixed_D))
            visible_D[list(hidden)] = 0
            beside = Beside(shared, varying_O, fixed_F, visible_D)
            for seed in (1, 2):
                x_BD = inputs(variant, TASKS, seed=seed)
                x_BD[:, fixed_F] = x_BD[0, fixed_F]
                whole, states = shared(x_BD * visible_D, TASKS), beside(x_BD[0, fixed_F], x_BD[:, varying_O], TASKS)
                assert list(states) == list(TASKS)
                for task in TASKS:
                    torch.testing.assert_close(states[task], whole[task], rtol=1e-5, atol=1e-5)

    def test_can_be_given_once_for_some_tasks_and_for_no_rows(self, variant: Network, fixed: list[str]):
        shared = build(variant, TASKS)
        is_fixed_D = torch.cat([torch.full((width,), name in fixed) for name, width in FIELDS.items()])
        is_fixed_D = is_fixed_D.repeat(variant.copies(TASKS))
        varying_O, fixed_F = (~is_fixed_D).nonzero().squeeze(1), is_fixed_D.nonzero().squeeze(1)
        beside, x_BD = Beside(shared, varying_O, fixed_F, torch.ones(len(is_fixed_D))), inputs(variant, TASKS, 4)
        x_BD[:, fixed_F] = x_BD[0, fixed_F]
        for some in (("seconds",), ("stars", "like")):
            whole, states = shared(x_BD, some), beside(x_BD[0, fixed_F], x_BD[:, varying_O], some)
            assert list(states) == list(some)
            assert all(torch.allclose(states[task], whole[task], atol=1e-5) for task in some)
        empty = beside(x_BD[0, fixed_F], x_BD[:0, varying_O], TASKS)
        assert all(state.shape == (0, shared.width) for state in empty.values())


def test_operations_are_the_same_for_any_number_of_rows(network: Network):
    """So that a network can be exported: nothing in it looks at how many rows there are, or at their values."""
    shared, x_BD, rows = build(network, TASKS), inputs(network, TASKS, 5), {0: torch.export.Dim("rows")}
    with torch.no_grad():
        program = torch.export.export(shared, (x_BD, TASKS), dynamic_shapes=(rows, (None,) * len(TASKS)), strict=False).module()
        x_BD = inputs(network, TASKS, 11)
        exported, expected = program(x_BD, TASKS), shared(x_BD, TASKS)
    assert all(torch.allclose(exported[task], expected[task], atol=1e-6) for task in TASKS)


LINEAR_FIRST = {"SharedBottom", "CrossStitch", "MMoE", "CGC", "PLE", "AdaTT"}
"""Networks of the package that read the features by linear maps alone."""


def test_linear_maps_that_alone_read_the_features_are_told(variant: Network):
    if type(variant).__module__.startswith("polyrec."):
        readers = build(variant, TASKS).readers()
        assert bool(readers) == (type(variant).__name__ in LINEAR_FIRST and not variant.products)
        assert all(reader.shape[1] == sum(FIELDS.values()) for reader in readers)


scales = st.sampled_from([0.0, 1e-3, 1.0, 30.0])
some_tasks = st.permutations(TASKS).flatmap(lambda order: st.integers(1, len(order)).map(lambda count: tuple(order[:count])))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), scale=scales, data=st.data())
def test_the_states_of_a_row_depend_on_no_other_row(network: Network, seed: int, scale: float, data: st.DataObject):
    shared, x_BD = built(network, TASKS), inputs(network, TASKS, 8, seed, scale)
    rows = data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=12))
    whole = shared(x_BD, TASKS)
    for task, state in shared(x_BD[rows], TASKS).items():
        torch.testing.assert_close(state, whole[task][rows], rtol=1e-4, atol=1e-4 * max(scale, 0.1))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), scale=scales, some=some_tasks)
def test_states_and_gates_of_some_tasks_are_those_of_all(network: Network, seed: int, scale: float, some: tuple[str, ...]):
    shared, x_BD = built(network, TASKS), inputs(network, TASKS, 8, seed, scale)
    for whole, part in ((shared(x_BD, TASKS), shared(x_BD, some)), (shared.gates(x_BD, TASKS), shared.gates(x_BD, some))):
        assert list(part) == [task for task in some if task in whole]
        for task, state in part.items():
            torch.testing.assert_close(state, whole[task], rtol=1e-4, atol=1e-4 * max(scale, 0.1))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), scale=scales)
def test_the_gates_of_a_row_are_shares_of_one(network: Network, seed: int, scale: float):
    for gate_BE in built(network, TASKS).gates(inputs(network, TASKS, 8, seed, scale), TASKS).values():
        assert (gate_BE >= 0).all()
        torch.testing.assert_close(gate_BE.sum(1), torch.ones(8))


WITHOUT_GATES = {"SharedBottom", "CrossStitch", "PEPNet"}
"""Networks of the package that share nothing out among experts."""


def test_only_networks_without_experts_to_choose_from_have_no_gates(network: Network):
    if type(network).__module__.startswith("polyrec."):
        gates = build(network, TASKS).gates(inputs(network, TASKS), TASKS)
        assert list(gates) == ([] if type(network).__name__ in WITHOUT_GATES else list(TASKS))


class TestGates:
    def test_share_out_one_among_as_many_experts_for_every_task(self, variant: Network):
        gates = build(variant, TASKS).gates(inputs(variant, TASKS), TASKS)
        assert not gates or list(gates) == list(TASKS)
        assert len({gate_BE.shape for gate_BE in gates.values()}) <= 1
        for gate_BE in gates.values():
            assert len(gate_BE) == ROWS
            assert (gate_BE >= 0).all()
            torch.testing.assert_close(gate_BE.sum(1), torch.ones(ROWS))

    def test_start_equal(self, variant: Network):
        for gate_BE in variant.build(FIELDS, TASKS).eval().gates(inputs(variant, TASKS), TASKS).values():
            torch.testing.assert_close(gate_BE, torch.full_like(gate_BE, 1 / gate_BE.shape[1]))

    def test_differ_by_row_and_by_task_once_they_learned(self, variant: Network):
        gates = [*build(variant, TASKS).gates(inputs(variant, TASKS), TASKS).values()]
        assert all(not torch.allclose(first, second) for first, second in combinations(gates, 2))
        assert all((gate_BE.std(0) > 1e-4).all() for gate_BE in gates)

    def test_of_one_task_are_those_among_all(self, variant: Network):
        shared, x_BD = build(variant, TASKS), inputs(variant, TASKS)
        whole = shared.gates(x_BD, TASKS)
        for task in whole:
            torch.testing.assert_close(shared.gates(x_BD, [task]), {task: whole[task]})


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
        products = FieldProducts(widths)(torch.cat(fields, 1))[:, sum(widths) :]
        kept = [position for position in range(len(widths)) if position != masked]
        pairs = (
            _pairs(torch.cat([fields[position] for position in kept], 1), [widths[position] for position in kept])
            if kept
            else []
        )
        expected = {sums.shape[1]: sums for sums in pairs}
        several = [width for width in sorted(set(widths)) if widths.count(width) > 1]
        for width, sums in zip(several, products.split(several, 1) if several else (), strict=True):
            torch.testing.assert_close(sums, expected.get(width, torch.zeros_like(sums)))

    def test_switched_off_leave_the_fields_alone(self):
        x_BD, widths = torch.randn(ROWS, 14), [*FIELDS.values()]
        products = FieldProducts(widths, enabled=False)
        assert products.width == sum(widths)
        assert torch.equal(products(x_BD), x_BD)


def _pairs(x_BD: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Return for each width that several fields have, in rising order, the sum of the products of all pairs."""
    fields = x_BD.split(list(widths), 1)
    sums: dict[int, Tensor] = {}
    for first in range(len(fields)):
        for second in range(first + 1, len(fields)):
            if widths[first] == widths[second]:
                sums[widths[first]] = sums.get(widths[first], 0) + fields[first] * fields[second]
    return [sums[width] for width in sorted(sums)]
