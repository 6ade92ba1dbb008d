"""What an optimiser knows of rows that change hands. Shape letters: R rows of the table, W width, T steps."""

import pytest
import torch
from torch import nn, optim

from polyrec.train.resetting import reset_rows

ROWS = 6

OPTIMIZERS = {
    "momentum": lambda table: optim.SGD([table], 0.1, momentum=0.9),
    "adagrad": lambda table: optim.Adagrad([table], 0.1),
    "adam": lambda table: optim.Adam([table], 0.1),
    "rmsprop": lambda table: optim.RMSprop([table], 0.1, momentum=0.5),
}


def step(optimizer: optim.Optimizer, table: nn.Parameter, seed: int) -> None:
    optimizer.zero_grad()
    table.grad = torch.randn(table.shape, generator=torch.Generator().manual_seed(seed))
    optimizer.step()


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_rows_are_forgotten_and_no_other(make):
    table = nn.Parameter(torch.zeros(ROWS, 3))
    optimizer = make(table)
    step(optimizer, table, 0)
    before = {name: value.clone() for name, value in optimizer.state[table].items()}
    reset_rows(optimizer, table, torch.tensor([1, 4]))
    by_row = {name: value for name, value in optimizer.state[table].items() if value.dim() == 2}
    assert by_row
    for name, value in by_row.items():
        assert not value[[1, 4]].any()
        assert torch.equal(value[[0, 2, 3, 5]], before[name][[0, 2, 3, 5]])
    assert torch.equal(optimizer.state[table].get("step", torch.ones(())), torch.ones(()))


@pytest.mark.parametrize("name", ["momentum", "adagrad"])
def test_rows_go_on_as_those_of_a_new_table(name: str):
    """Where the optimiser has no memory but by row, as Adam has in its count of steps."""
    old, new = nn.Parameter(torch.zeros(ROWS, 3)), nn.Parameter(torch.zeros(ROWS, 3))
    optimizer, fresh = OPTIMIZERS[name](old), OPTIMIZERS[name](new)
    step(optimizer, old, 0)
    reset_rows(optimizer, old, torch.tensor([2]))
    with torch.no_grad():
        old[2] = 0.0
    for seed in (1, 2):
        step(optimizer, old, seed)
        step(fresh, new, seed)
    assert torch.equal(old[2], new[2])
    assert not torch.equal(old[3], new[3])


def test_before_the_first_step_there_is_nothing_to_forget():
    table = nn.Parameter(torch.zeros(ROWS, 3))
    optimizer = optim.Adam([table])
    reset_rows(optimizer, table, torch.tensor([0]))
    assert not optimizer.state[table]


def test_rows_that_are_made_good_for_steps_missed_are_up_to_date():
    table = nn.Parameter(torch.zeros(ROWS, 3))
    optimizer = optim.SGD([table], 0.1)
    series_T, last_R = torch.linspace(-1, 0, ROWS, dtype=torch.float64), torch.tensor([5.0, 1.0, 2.0, 0.0, 3.0, 4.0])
    optimizer.state[table] = {"step": 5, "last": last_R, "log_decay": series_T, "drift": series_T, "sum": torch.ones(ROWS)}
    reset_rows(optimizer, table, torch.tensor([1, 3]))
    state = optimizer.state[table]
    assert state["last"].tolist() == [5, 5, 2, 5, 3, 4]
    assert state["sum"].tolist() == [1, 0, 1, 0, 1, 1]
    assert torch.equal(series_T, torch.linspace(-1, 0, ROWS, dtype=torch.float64))
