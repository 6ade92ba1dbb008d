"""The decoder of codes and the search of the tree: probabilities, exactness, and nothing but what exists."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrec.layers.code_decoder import CodeDecoder
from polyrec.layers.code_tree import CodeTree, beam_search

LEVELS, SIZE, WIDTH = 3, 4, 5
EVERY = torch.cartesian_prod(*[torch.arange(SIZE)] * LEVELS)
catalogues = st.lists(st.tuples(*[st.integers(0, SIZE - 1)] * LEVELS), min_size=1, max_size=40).map(torch.tensor)


def decoder(seed: int = 0) -> CodeDecoder:
    torch.manual_seed(seed)
    made = CodeDecoder(LEVELS, SIZE, WIDTH, 2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.requires_grad_(False)


def logs(made: CodeDecoder, state_1H: Tensor, numbers_IL: Tensor) -> Tensor:
    """Return the log probability of each item, read off the logits of its own path."""
    logits_ILK = torch.log_softmax(made(state_1H.expand(len(numbers_IL), -1), numbers_IL), 2)
    return logits_ILK.gather(2, numbers_IL.unsqueeze(2)).squeeze(2).sum(1)


@given(seed=st.integers(0, 99))
def test_probabilities_of_all_codes_sum_to_one(seed: int):
    log_I = logs(decoder(seed), torch.randn(1, WIDTH), EVERY)
    torch.testing.assert_close(log_I.exp().sum(), torch.tensor(1.0))


def test_a_level_is_told_from_the_codes_before_it_alone():
    made, state_BH = decoder(), torch.randn(1, WIDTH).expand(len(EVERY), -1)
    logits_BLK = made(state_BH, EVERY)
    for level in range(LEVELS):
        _, same = (
            EVERY[:, :level].unique(dim=0, return_inverse=True) if level else (None, torch.zeros(len(EVERY), dtype=torch.long))
        )
        for path in same.unique():
            group = logits_BLK[same == path, level]
            torch.testing.assert_close(group, group[:1].expand_as(group))
        assert level == 0 or logits_BLK[:, level].unique(dim=0).shape[0] > 1


@given(numbers_IL=catalogues, seed=st.integers(0, 20))
def test_a_wide_beam_ranks_like_scoring_every_item(numbers_IL: Tensor, seed: int):
    made, state_1H = decoder(seed), torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed))
    items_E, logs_E = beam_search(made, state_1H, CodeTree(numbers_IL), beams=len(numbers_IL))
    assert sorted(items_E.tolist()) == list(range(len(numbers_IL)))
    torch.testing.assert_close(logs_E, logs(made, state_1H, numbers_IL)[items_E])
    assert (logs_E.diff() <= 0).all()


@given(numbers_IL=catalogues, beams=st.integers(1, 9), data=st.data())
def test_a_narrow_beam_finds_some_items_that_are_kept_each_once(numbers_IL: Tensor, beams: int, data: st.DataObject):
    kept_I = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(numbers_IL), max_size=len(numbers_IL))))
    made, state_1H = decoder(), torch.ones(1, WIDTH)
    items_E, logs_E = beam_search(made, state_1H, CodeTree(numbers_IL), beams, kept_I)
    assert len(set(items_E.tolist())) == len(items_E)
    assert kept_I[items_E].all()
    assert len(items_E) >= min(beams, int(kept_I.any()))
    assert len(numbers_IL[items_E].unique(dim=0)) <= beams
    torch.testing.assert_close(logs_E, logs(made, state_1H, numbers_IL)[items_E])


@given(numbers_IL=catalogues, data=st.data())
def test_items_that_are_not_kept_take_no_beam(numbers_IL: Tensor, data: st.DataObject):
    """A search among some items is the search of a tree of these items alone."""
    kept = data.draw(st.lists(st.integers(0, len(numbers_IL) - 1), min_size=1, unique=True).map(sorted))
    kept_I = torch.zeros(len(numbers_IL), dtype=torch.bool)
    kept_I[kept] = True
    made, state_1H = decoder(), torch.ones(1, WIDTH)
    items_E, logs_E = beam_search(made, state_1H, CodeTree(numbers_IL), 2, kept_I)
    alone_E, alone_logs_E = beam_search(made, state_1H, CodeTree(numbers_IL[kept]), 2)
    assert items_E.tolist() == [kept[item] for item in alone_E.tolist()]
    torch.testing.assert_close(logs_E, alone_logs_E)


def test_one_beam_goes_for_the_best_code_at_each_level():
    made, state_1H = decoder(3), torch.ones(1, WIDTH)
    (item,), _ = beam_search(made, state_1H, CodeTree(EVERY), 1)
    state, path = state_1H, []
    for level in range(LEVELS):
        path.append(int(made.logits(state, level).argmax()))
        state = made.read(state, level, torch.tensor(path[-1:])) if level < LEVELS - 1 else state
    assert EVERY[item].tolist() == path


def test_the_tree_holds_the_range_of_items_below_each_node():
    tree = CodeTree(torch.tensor([[1, 0], [0, 2], [1, 0], [1, 3]]))
    assert tree.item_I.tolist() == [1, 0, 2, 3]
    assert [values.tolist() for values in tree.numbers] == [[0, 1], [2, 0, 3]]
    assert [values.tolist() for values in tree.children] == [[0, 2], [0, 1, 3], [0, 1, 3, 4]]
    assert [values.tolist() for values in tree.alive(torch.tensor([True, False, False, False]))] == [
        [False, True],
        [False, True, False],
    ]


@pytest.mark.parametrize("level", [0, 1])
def test_every_weight_learns(level: int):
    made = decoder().requires_grad_(True)
    made(torch.ones(1, WIDTH), torch.tensor([[1, 2, 3]]))[0, :, level].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())
