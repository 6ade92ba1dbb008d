"""The optimisers that touch only the rows reached, against the dense ones of torch.

Shape letters: R rows of the table, W width, U rows reached at a step.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn, optim

from polyrec.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from polyrec.train.optimizers import clip_gradients
from polyrec.train.row_adagrad import RowAdagrad
from polyrec.train.row_adam import RowAdam
from polyrec.train.row_optimizer import CHUNK, RowOptimizer
from polyrec.train.row_wise_adagrad import RowWiseAdagrad

ROWS, WIDTH = 7, 3
Make = Callable[[Iterable[nn.Parameter]], optim.Optimizer]
Touches = Sequence[Sequence[int]]

patterns = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=12), min_size=1, max_size=40)
"""Indices read at each step, repeated ones among them, or none."""
EVERY = [pytest.param(kind, id=kind.__name__) for kind in (RowAdam, RowAdagrad, RowWiseAdagrad)]


def step_of(optimizer: torch.optim.Optimizer) -> SimpleNamespace:
    """Return what a checkpoint reads of a step."""
    return SimpleNamespace(optimizers=[optimizer], sums_2T=torch.zeros(2, 1), random=torch.get_rng_state())


def first_table(rows: int = ROWS) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(1)))


def train(
    make: Make, touches: Touches, rate: Callable[[int], float] = lambda _: 0.1, catch_up: bool = True, ahead: bool = False
) -> tuple[nn.Parameter, optim.Optimizer]:
    """Return a table, and its optimiser, after steps with random gradients in the rows read; dense ones for torch's own."""
    table, generator = first_table(), torch.Generator().manual_seed(2)
    optimizer = make([table])
    for step, read in enumerate(touches, start=1):
        values = torch.randn(len(read), WIDTH, generator=generator)
        index = torch.tensor([read], dtype=torch.long)
        gradient = torch.sparse_coo_tensor(index, values, table.shape, check_invariants=True)
        if ahead:
            assert isinstance(optimizer, RowOptimizer)
            optimizer.catch_up(table, index[0])
        table.grad = gradient if isinstance(optimizer, RowOptimizer) else gradient.to_dense()
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
    if catch_up and isinstance(optimizer, RowOptimizer):
        optimizer.catch_up()
    return table, optimizer


def changing(step: int) -> float:
    return 0.1 * (1 + math.cos(step / 5))


def assert_same(one: Tensor, other: Tensor, tolerance: float = 2e-6) -> None:
    torch.testing.assert_close(one.detach(), other.detach(), rtol=tolerance, atol=tolerance)


class TestRowAdam:
    @pytest.mark.parametrize("decay", [0.0, 0.1])
    def test_is_adam_where_every_row_is_reached_at_every_step(self, decay: float):
        touches = [[*range(ROWS), 2, 2, 0]] * 30
        ours, _ = train(lambda tables: RowAdam(tables, weight_decay=decay), touches, changing, catch_up=False)
        theirs, _ = train(lambda tables: optim.AdamW(tables, weight_decay=decay), touches, changing)
        assert_same(ours, theirs)

    @settings(max_examples=40)
    @given(patterns, st.sampled_from([0.0, 0.3]))
    def test_without_momentum_is_adam_whatever_rows_are_reached(self, touches: Touches, decay: float):
        ours, _ = train(lambda tables: RowAdam(tables, betas=(0.0, 0.99), weight_decay=decay), touches, changing)
        theirs, _ = train(lambda tables: optim.AdamW(tables, betas=(0.0, 0.99), weight_decay=decay), touches, changing)
        assert_same(ours, theirs)

    @settings(max_examples=40)
    @given(patterns)
    def test_has_the_moments_of_adam_whatever_rows_are_reached(self, touches: Touches):
        ours, mine = train(RowAdam, touches)
        theirs, reference = train(optim.Adam, touches)
        for moment in ("exp_avg", "exp_avg_sq"):
            assert_same(mine.state[ours][moment], reference.state[theirs][moment])

    @settings(max_examples=40)
    @given(patterns, st.sampled_from([0.0, 0.3]))
    def test_with_drift_and_rows_caught_up_ahead_is_adam(self, touches: Touches, decay: float):
        ours, _ = train(lambda tables: RowAdam(tables, weight_decay=decay, drift=True), touches, changing, ahead=True)
        theirs, _ = train(lambda tables: optim.AdamW(tables, weight_decay=decay), touches, changing)
        assert_same(ours, theirs, 5e-4)

    def test_with_drift_is_adam_also_where_rows_are_caught_up_late_and_momentum_has_faded(self):
        touches = [[0, 1], [1], *[[2]] * 400, [0, 2]]
        ours, _ = train(lambda tables: RowAdam(tables, weight_decay=0.01, drift=True), touches, changing)
        theirs, _ = train(lambda tables: optim.AdamW(tables, weight_decay=0.01), touches, changing)
        assert_same(ours, theirs, 2e-5)

    def test_without_drift_a_missed_row_stays_where_adam_goes_on(self):
        touches = [[0, 1], *[[1]] * 20]
        ours, _ = train(RowAdam, touches)
        theirs, _ = train(optim.Adam, touches)
        once, _ = train(RowAdam, touches[:1])
        assert torch.equal(ours[0], once[0])
        assert float((ours[0] - theirs[0]).detach().abs().max()) > 0.1
        assert_same(ours[1], theirs[1])

    def test_by_hand(self):
        table = nn.Parameter(torch.tensor([[1.0], [1.0]]))
        optimizer = RowAdam([table], lr=0.5, betas=(0.5, 0.75), eps=0.0, weight_decay=0.2)
        for row, value in ((0, 2.0), (1, 1.0), (0, 4.0)):
            table.grad = torch.sparse_coo_tensor([[row]], [[value]], table.shape, check_invariants=True)
            optimizer.step()
        first = 0.9 - 0.5
        m, v = 0.25 * 1.0 + 0.5 * 4.0, 0.75**2 * 1.0 + 0.25 * 16.0
        second = first * 0.9**2 - 0.5 * (m / (1 - 0.5**3)) / math.sqrt(v / (1 - 0.75**3))
        assert table[0].item() == pytest.approx(second, rel=1e-6)

    def test_refuses_a_drift_without_end(self):
        with pytest.raises(ValueError, match="drift without end"):
            RowAdam([first_table()], betas=(0.9, 0.8), drift=True)


class TestRowAdagrad:
    @settings(max_examples=40)
    @given(patterns)
    def test_is_adagrad_whatever_rows_are_reached(self, touches: Touches):
        ours, mine = train(RowAdagrad, touches, changing, catch_up=False)
        theirs, reference = train(optim.Adagrad, touches, changing)
        assert_same(ours, theirs)
        assert_same(mine.state[ours]["sum"], reference.state[theirs]["sum"])


class TestRowWiseAdagrad:
    @pytest.mark.parametrize("decay", [0.0, 0.3])
    def test_is_the_textbooks_loop(self, decay: float):
        generator = torch.Generator().manual_seed(5)
        touches = [torch.randint(ROWS, (4,), generator=generator).tolist() for _ in range(30)]
        ours, _ = train(lambda tables: RowWiseAdagrad(tables, weight_decay=decay), touches, changing)
        weights, sums, generator = first_table().tolist(), [0.0] * ROWS, torch.Generator().manual_seed(2)
        for step, read in enumerate(touches, start=1):
            values = torch.randn(len(read), WIDTH, generator=generator).tolist()
            for row in range(ROWS):
                weights[row] = [weight * (1 - changing(step) * decay) for weight in weights[row]]
                if row in read:
                    own = [sum(value[j] for at, value in zip(read, values, strict=True) if at == row) for j in range(WIDTH)]
                    sums[row] += sum(value**2 for value in own) / WIDTH
                    size = changing(step) / (math.sqrt(sums[row]) + 1e-8)
                    weights[row] = [weight - size * value for weight, value in zip(weights[row], own, strict=True)]
        assert_same(ours, torch.tensor(weights), 1e-5)

    def test_keeps_one_number_a_row(self):
        table, optimizer = train(RowWiseAdagrad, [[0, 1]])
        assert optimizer.state[table]["sum"].shape == (ROWS,)


@pytest.mark.parametrize("kind", EVERY)
class TestEvery:
    def test_decays_weights_that_no_gradient_reaches_once_caught_up(self, kind: type[RowOptimizer]):
        touches = [[0]] * 9
        for catch_up, factor in ((False, 1.0), (True, math.prod(1 - 0.2 * changing(step) for step in range(1, 10)))):
            table, _ = train(lambda tables: kind(tables, weight_decay=0.2), touches, changing, catch_up=catch_up)
            assert_same(table[1:], factor * first_table()[1:])

    def test_catching_up_twice_changes_nothing(self, kind: type[RowOptimizer]):
        table, optimizer = train(lambda tables: kind(tables, weight_decay=0.2), [[0, 3], [1]])
        before = table.detach().clone()
        optimizer.catch_up()
        assert torch.equal(table, before)

    def test_catches_up_the_rows_asked_for(self, kind: type[RowOptimizer]):
        table, other = first_table(), first_table()
        optimizer = kind([table, other], weight_decay=0.2)
        for own in (table, other):
            own.grad = torch.zeros(ROWS, WIDTH).to_sparse(1)
        optimizer.step()
        optimizer.catch_up(table, torch.tensor([5, 2, 5]))
        assert torch.equal(other, first_table())
        moved_R = (table != first_table()).any(1)
        assert moved_R.nonzero().flatten().tolist() == [2, 5]

    def test_does_not_mind_when_rows_were_caught_up(self, kind: type[RowOptimizer]):
        touches = [[0, 3], [1], [2, 2], [0], [5, 1]]
        ahead, late = (train(lambda tables: kind(tables, weight_decay=0.2), touches, ahead=ahead)[0] for ahead in (True, False))
        assert_same(ahead, late)

    def test_takes_a_dense_gradient_as_one_that_reaches_all_rows(self, kind: type[RowOptimizer]):
        sparse, dense = first_table(), first_table()
        for table, layout in ((sparse, torch.sparse_coo), (dense, torch.strided)):
            optimizer = kind([table], weight_decay=0.1)
            for step in range(3):
                gradient = torch.full((ROWS, WIDTH), 1.0 + step)
                table.grad = gradient.to_sparse(1) if layout is torch.sparse_coo else gradient
                optimizer.step()
        assert torch.equal(sparse, dense)

    def test_passes_over_a_table_without_gradient(self, kind: type[RowOptimizer]):
        reached, missed = first_table(), first_table()
        optimizer = kind([missed, reached], weight_decay=0.1)
        reached.grad = torch.ones(ROWS, WIDTH).to_sparse(1)
        optimizer.step()
        optimizer.catch_up()
        assert torch.equal(missed, first_table())
        assert not torch.equal(reached, first_table())

    def test_takes_more_rows_than_it_has_in_hand_at_a_time(self, kind: type[RowOptimizer]):
        many, few = first_table(2 * CHUNK + 5), first_table(2 * CHUNK + 5)
        gradient = torch.randn(many.shape, generator=torch.Generator().manual_seed(3))
        many.grad = gradient.to_sparse(1)
        kind([many]).step()
        ends = [0, CHUNK - 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 4]
        few.grad = torch.sparse_coo_tensor(torch.tensor([ends]), gradient[ends], few.shape, check_invariants=True)
        kind([few]).step()
        assert torch.equal(many[ends], few[ends])
        assert (many != first_table(2 * CHUNK + 5)).all()

    def test_follows_a_clipped_gradient(self, kind: type[RowOptimizer]):
        clipped, scaled = first_table(), first_table()
        values, index = torch.full((2, WIDTH), 3.0), torch.tensor([[4, 4]])
        clipped.grad = torch.sparse_coo_tensor(index, values, clipped.shape, check_invariants=True)
        clip_gradients([clipped], 0.5)
        scaled.grad = torch.sparse_coo_tensor(index, values * 0.5 / (6 * math.sqrt(WIDTH)), scaled.shape, check_invariants=True)
        for table in (clipped, scaled):
            kind([table], eps=1.0).step()
        assert_same(clipped, scaled)

    @pytest.mark.parametrize("decay", [0.0, 0.1])
    def test_goes_on_from_a_checkpoint_bit_for_bit(self, kind: type[RowOptimizer], decay: float, tmp_path: Path):
        drift = {"drift": True} if kind is RowAdam else {}

        def model_and_optimizer() -> tuple[nn.ParameterList, RowOptimizer]:
            model = nn.ParameterList([first_table(), first_table(5)])
            return model, kind(model, weight_decay=decay, **drift)

        def steps(model: nn.ParameterList, optimizer: RowOptimizer, first: int, last: int) -> None:
            for step in range(first, last):
                generator = torch.Generator().manual_seed(step)
                for table in model:
                    index = torch.randint(len(table), (1, 2), generator=generator)
                    values = torch.randn(2, WIDTH, generator=generator)
                    table.grad = torch.sparse_coo_tensor(index, values, table.shape, check_invariants=True)
                optimizer.param_groups[0]["lr"] = changing(step)
                optimizer.step()

        model, optimizer = model_and_optimizer()
        steps(model, optimizer, 0, 20)
        save_checkpoint(tmp_path / "checkpoint", model, nn.Identity(), step_of(optimizer), {}, Progress("same", []))
        steps(model, optimizer, 20, 40)
        again, resumed = model_and_optimizer()
        load_checkpoint(tmp_path / "checkpoint", again, nn.Identity(), step_of(resumed), "same")
        steps(again, resumed, 20, 40)
        optimizer.catch_up()
        resumed.catch_up()
        for one, other in zip(model, again, strict=True):
            assert torch.equal(one, other)
            mine, theirs = optimizer.state[one], resumed.state[other]
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(torch.as_tensor(mine[name]), torch.as_tensor(theirs[name])) for name in mine)
