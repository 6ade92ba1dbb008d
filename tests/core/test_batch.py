"""Columns appended and narrowed hold the rows that they stand for, of every kind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from polyrec.core.batch import Bag, Column, Dense, Indexed, Input, Lookup, Pair, Paired, Ragged, Repeated, appended, few


def ragged(generator: torch.Generator, rows: int) -> Ragged:
    lengths = torch.randint(0, 4, (rows,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    return Ragged(torch.randint(100, (int(lengths.sum()),), generator=generator), offsets)


def index(generator: torch.Generator, rows: int) -> Tensor:
    return torch.randint(5, (rows,), generator=generator)


KINDS: dict[str, Callable[[torch.Generator, int], Column]] = {
    "numbers": lambda generator, rows: Dense(torch.rand(rows, generator=generator)),
    "vectors": lambda generator, rows: Dense(torch.rand(rows, 3, generator=generator)),
    "lists": ragged,
    "shared vectors": lambda generator, rows: Indexed(torch.rand(5, 3, generator=generator), index(generator, rows)),
    "shared vectors, once a batch": lambda generator, rows: Lookup(
        Dense(torch.rand(5, 3, generator=generator)), index(generator, rows)
    ),
    "shared lists": lambda generator, rows: Lookup(ragged(generator, 5), index(generator, rows)),
    "pairs": lambda generator, rows: Paired(
        Dense(torch.rand(rows, generator=generator)), Indexed(torch.rand(5, 2), index(generator, rows))
    ),
}


@pytest.fixture(params=KINDS)
def both(request: pytest.FixtureRequest) -> tuple[Column, Column]:
    generator = torch.Generator().manual_seed(0)
    make = KINDS[request.param]
    return make(generator, 7), make(generator, 4)


def values(column: Column, rows: list[int]) -> list:
    """Return what each of some rows holds, as Python values."""
    return [plain(column.take(torch.tensor([row]))) for row in rows]


def plain(values: Input) -> object:
    match values:
        case Pair():
            return plain(values.first), plain(values.second)
        case Bag():
            return values.values.tolist()
        case Repeated(elements=Tensor()):
            return values.elements[values.index_B].tolist()
        case Repeated():
            assert len(values.index_B) == 1
            return plain(values.elements)
        case Tensor():
            return values.tolist()
    raise AssertionError(values)


def test_rows_appended_follow_the_first(both: tuple[Column, Column]):
    first, second = both
    assert values(appended(first, second), list(range(11))) == values(first, list(range(7))) + values(second, list(range(4)))


def test_a_few_rows_are_those_rows(both: tuple[Column, Column]):
    rows = [5, 0, 5, 6]
    assert values(few(both[0], torch.tensor(rows)), [0, 1, 2, 3]) == values(both[0], rows)


def test_a_few_rows_hold_nothing_else():
    shared = few(Indexed(torch.rand(1000, 3), torch.arange(1000)), torch.tensor([3, 3, 9]))
    assert isinstance(shared, Lookup) and isinstance(shared.elements, Dense)
    assert len(shared.elements.values_N) == 2
