"""What every fusion keeps, and values pinned."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polyrec import Add, Multiply, UserError
from polyrec.fusion.fusion import Fusion

TASKS = ("like", "stars")
ROWS = 12


def predictions(seed: int = 0, rows: int = ROWS) -> dict[str, Tensor]:
    """Return a probability and a number of stars a row."""
    generator = torch.Generator().manual_seed(seed)
    return {"like": torch.rand(rows, generator=generator), "stars": 1 + 4 * torch.rand(rows, generator=generator)}


def positive(fusion: Fusion) -> list[str]:
    """Return the tasks that a fusion ranks up."""
    return [task for task, weight in (dict(fusion.parts()) or dict.fromkeys(TASKS, 1.0)).items() if weight > 0]


def test_a_score_a_row_in_double_precision(fusion: Fusion):
    scores = fusion.score(predictions())
    assert scores.shape == (ROWS,)
    assert scores.dtype == torch.float64
    assert torch.isfinite(scores).all()


@given(seed=st.integers(0, 10**6), row=st.integers(0, ROWS - 1), factor=st.floats(1.01, 100))
def test_more_of_what_is_wanted_ranks_higher(fusion: Fusion, seed: int, row: int, factor: float):
    assert positive(fusion)
    for task in positive(fusion):
        before = predictions(seed)
        before[task] += 0.01
        after = {**before, task: before[task].clone()}
        after[task][row] *= factor
        assert fusion.score(after)[row] > fusion.score(before)[row]


@given(seed=st.integers(0, 10**6), order=st.permutations(range(ROWS)))
def test_the_order_of_rows_does_not_matter(fusion: Fusion, seed: int, order: list[int]):
    whole = predictions(seed)
    shuffled = fusion.score({task: values[order] for task, values in whole.items()})
    assert torch.equal(shuffled, fusion.score(whole)[order])


def test_the_order_of_tasks_does_not_matter(fusion: Fusion):
    whole = predictions()
    torch.testing.assert_close(fusion.score({task: whole[task] for task in reversed(TASKS)}), fusion.score(whole))


def test_a_task_that_it_names_must_be_there(fusion: Fusion):
    fusion.check(TASKS, TASKS)
    others = ("likes", "starz")
    if fusion.parts():
        with pytest.raises(UserError, match=r"no such task. Did you mean '(likes|starz)'"):
            fusion.check(others, others)
    else:
        fusion.check(others, others)


def test_a_task_that_it_names_must_be_one_number_a_row(fusion: Fusion):
    if fusion.parts():
        with pytest.raises(UserError, match="a task with several outputs"):
            fusion.check(("seconds",), (*TASKS, "seconds"))
    else:
        fusion.check(("seconds",), (*TASKS, "seconds"))


class TestAdd:
    def test_is_the_weighted_sum_of_the_tasks_named(self):
        given_values = {"like": torch.tensor([0.5, 0.25]), "stars": torch.tensor([4.0, 2.0]), "cost": torch.tensor([9.0, 9.0])}
        assert Add(weights={"like": 2.0, "stars": -0.5}).score(given_values).tolist() == [-1.0, -0.5]

    def test_with_no_weights_is_the_sum_of_all(self):
        assert Add().score({"like": torch.tensor([0.5]), "stars": torch.tensor([4.0])}).tolist() == [4.5]


class TestMultiply:
    @pytest.mark.parametrize(
        ("powers", "score"),
        [
            ({"like": 0.0, "stars": 0.0}, 1.0),
            ({"like": 1.0, "stars": 0.0}, 0.5),
            ({"like": 2.0, "stars": 0.5}, 0.5),
            ({"like": -1.0, "stars": 1.0}, 8.0),
            ({"stars": 1.0}, 4.0),
            ({}, 2.0),
        ],
    )
    def test_is_the_product_of_powers(self, powers: dict[str, float], score: float):
        given_values = {"like": torch.tensor([0.5]), "stars": torch.tensor([4.0])}
        assert Multiply(powers=powers).score(given_values).item() == pytest.approx(score, rel=1e-12)

    @pytest.mark.parametrize("value", [0.0, -3.0, 1e-12])
    def test_reads_what_is_not_positive_as_the_smallest(self, value: float):
        assert Multiply(powers={"stars": 1.0}).score({"stars": torch.tensor([value])}).item() == pytest.approx(1e-9, rel=1e-12)

    @given(seed=st.integers(0, 10**6))
    def test_ranks_as_the_sum_of_logarithms_does(self, seed: int):
        whole = predictions(seed)
        logarithms = {task: values.double().log() for task, values in whole.items()}
        weights = {"like": 1.0, "stars": 0.5}
        product, total = Multiply(powers=weights).score(whole), Add(weights=weights).score(logarithms)
        torch.testing.assert_close(product.log(), total)
