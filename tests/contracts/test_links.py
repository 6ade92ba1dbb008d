"""What every link keeps. Shape letters: B rows, H width of a state."""

from itertools import permutations

import polars as pl
import pytest
import torch

from polyrec import Binary, kinds
from polyrec.model.objective import Objective
from polyrec.tasks.link import Link

ROWS = 30

WITHOUT_MODULE = {"Product"}
"""Links of the package that join losses and predictions alone."""
JOINING = [
    pytest.param(kind(**example), id=f"{name}{position}")
    for name, kind in kinds("links").items()
    for position, example in enumerate(kind.examples)
    if kind(**example).build(4, [3] * len(example["tasks"])) is not None
]


def tasks(link: Link) -> tuple[Binary, ...]:
    """Return the tasks that a link names and one after them."""
    return (*(Binary(name=name, label=name) for name in link.tasks), Binary(name="last", label="last", after=link))


def rows(link: Link) -> tuple[dict[str, torch.Tensor], ...]:
    """Return raw outputs, targets and masks in which nothing happens that an earlier task rules out."""
    generator = torch.Generator().manual_seed(0)
    names = [*link.tasks, "last"]
    raw = {name: torch.randn(ROWS, generator=generator, requires_grad=True) for name in names}
    happened = torch.ones(ROWS)
    targets = {}
    for name in names:
        happened = happened * (torch.rand(ROWS, generator=generator) < 0.7)
        targets[name] = happened
    return raw, targets, {name: torch.arange(ROWS) % 3 > 0 for name in names}


def test_the_loss_counts_where_the_label_was_observed(link: Link):
    raw, targets, masks = rows(link)
    loss_B, counts_B = Objective(tasks(link)).losses(raw, targets, masks)["last"]
    assert torch.isfinite(loss_B).all()
    assert torch.equal(counts_B, masks["last"])
    assert (loss_B[~counts_B] == 0).all()
    assert (loss_B[counts_B] > 0).all()


def test_the_loss_teaches_the_later_task(link: Link):
    raw, targets, masks = rows(link)
    Objective(tasks(link)).losses(raw, targets, masks)["last"][0].sum().backward()
    assert raw["last"].grad is not None
    assert raw["last"].grad[masks["last"]].abs().min() > 0


def test_predictions_are_probabilities_in_both_spaces(link: Link):
    raw, _, _ = rows(link)
    objective = Objective(tasks(link))
    states = {task.name: task.fit(pl.Series([True, False])) for task in objective.tasks}
    for given in (False, True):
        probabilities = objective.predictions(raw, states, given)["last"]
        assert ((probabilities > 0) & (probabilities < 1)).all()


def test_only_links_that_join_losses_alone_have_no_module_between_towers(link: Link):
    if type(link).__module__.startswith("polyrec."):
        assert (link.build(4, [3] * len(link.tasks)) is None) == (type(link).__name__ in WITHOUT_MODULE)


@pytest.mark.parametrize("joining", JOINING)
def test_the_module_between_towers_maps_states_to_a_state(joining: Link):
    module = joining.build(4, [3] * len(joining.tasks))
    assert module is not None
    state_BH, earlier = torch.randn(ROWS, 4), [torch.randn(ROWS, 3) for _ in joining.tasks]
    joined = module(state_BH, earlier)
    assert joined.shape == (ROWS, 4)
    torch.testing.assert_close(module(state_BH[5:9], [state[5:9] for state in earlier]), joined[5:9])
    joined.sum().backward()
    quiet = {name for name, parameter in module.named_parameters() if parameter.grad is None}
    assert quiet == set()


def test_the_order_of_declaration_does_not_matter(link: Link):
    raw, targets, masks = rows(link)
    declared, *others = permutations(tasks(link))
    expected = Objective(declared).losses(raw, targets, masks)["last"][0]
    assert others
    for other in others:
        torch.testing.assert_close(Objective(other).losses(raw, targets, masks)["last"][0], expected)
