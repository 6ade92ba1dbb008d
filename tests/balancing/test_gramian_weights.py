"""The weights of the gradient methods: by hand, by TorchJD, by textbook code on vectors, and by what each paper promises."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor
from torchjd import aggregation
from torchjd.linalg import DualConeProjector, PSDMatrix

from polyrec import kinds
from polyrec.balancing.aligned_mtl import alignment
from polyrec.balancing.cagrad import LARGEST, conflict_averse
from polyrec.balancing.gradvac import vaccinated
from polyrec.balancing.imtl_g import impartial
from polyrec.balancing.nash_mtl import bargained
from polyrec.balancing.pcgrad import projected
from polyrec.balancing.upgrad import unconflicting
from polyrec.layers.cones import nonnegative, smallest_mixture

SEEDS = range(8)
SQUARE = [[2.0, 0.0], [0.0, 1.0]]
"""Two orthogonal gradients, one twice as long."""
CONFLICT = [[1.0, 0.0], [-1.0, 1.0]]


def jacobian(seed: int, tasks: int = 4, width: int = 7) -> np.ndarray:
    """Return independent gradients of unlike lengths, many of which conflict."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(tasks, width)) * generator.uniform(0.3, 3, size=(tasks, 1))


def orders(seed: int, tasks: int = 4) -> np.ndarray:
    torch.manual_seed(seed)
    return np.stack([torch.randperm(tasks).numpy() for _ in range(tasks)])


class Explicit:
    """`Gradients` made of one vector for each of the tasks a, b, …"""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = dict(zip("abcdefgh", rows, strict=False))

    def gramian(self, tasks: Sequence[str]) -> Tensor:
        matrix = torch.tensor([list(self.rows[task]) for task in tasks])
        return matrix @ matrix.T

    def norms(self, tasks: Sequence[str]) -> Tensor:
        return self.gramian(tasks).diagonal().sqrt()


def weights(kind: str, rows: Sequence[Sequence[float]], **fields: object) -> list[float]:
    """Return what a new balance of this kind weighs tasks of loss 1 by."""
    tasks = "abcdefgh"[: len(rows)]
    at = {task: torch.tensor(1.0, requires_grad=True) for task in tasks}
    kinds("balancers")[kind](**fields).build(tuple(tasks))(at, Explicit(rows)).backward()
    return [float(loss.grad) for loss in at.values()]


@pytest.mark.parametrize(
    ("kind", "rows", "expected"),
    [
        ("MGDA", SQUARE, [1 / 5, 4 / 5]),
        ("IMTLG", SQUARE, [1 / 3, 2 / 3]),
        ("NashMTL", SQUARE, [2 / 3, 4 / 3]),
        ("AlignedMTL", SQUARE, [1 / 4, 1 / 2]),
        ("CAGrad", SQUARE, [1 / 2, 1 / 2 + 0.4 * 1.25**0.5]),
        ("CAGrad", [[1.0, 0.0], [0.0, 1.0]], [0.7, 0.7]),
        ("UPGrad", SQUARE, [1 / 2, 1 / 2]),
        ("UPGrad", CONFLICT, [1.0, 3 / 4]),
        ("PCGrad", CONFLICT, [2.0, 3 / 2]),
        ("GradVac", CONFLICT, [2.0, 3 / 2]),
    ],
)
def test_two_gradients_are_weighed_as_by_hand(kind: str, rows: list[list[float]], expected: list[float]):
    assert weights(kind, rows) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["MGDA", "IMTLG", "AlignedMTL", "CAGrad", "UPGrad", "PCGrad", "GradVac", "NashMTL"])
def test_a_task_without_gradient_keeps_its_share_and_does_not_stop_the_rest(kind: str):
    zero = [0.0, 0.0]
    of_two, of_three = weights(kind, CONFLICT), weights(kind, [CONFLICT[0], zero, CONFLICT[1]])
    averages = kind not in ("PCGrad", "GradVac", "NashMTL")
    assert of_three[1] == pytest.approx(1 / 3 if averages else 1.0)
    assert [of_three[0], of_three[2]] == pytest.approx([weight * (2 / 3 if averages else 1) for weight in of_two], rel=1e-5)
    assert weights(kind, [zero, zero]) == pytest.approx([0.5, 0.5] if averages else [1, 1])


@pytest.mark.parametrize("kind", ["MGDA", "IMTLG", "AlignedMTL", "NashMTL"])
@pytest.mark.parametrize("rows", [[[1.0, 2.0], [-1.0, -2.0]], [[1.0, 2.0], [1.0, 2.0]]], ids=["opposite", "equal"])
def test_opposite_or_equal_gradients_are_weighed_evenly(kind: str, rows: list[list[float]]):
    assert weights(kind, rows) == pytest.approx([1.0, 1.0] if kind == "NashMTL" else [0.5, 0.5], rel=1e-5)


class TestMGDA:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_no_mixture_is_shorter(self, seed: int):
        rows = jacobian(seed)
        w = smallest_mixture(rows @ rows.T)
        assert w.sum() == pytest.approx(1)
        least = (rows @ (w @ rows)).min()
        assert least == pytest.approx(np.square(w @ rows).sum(), rel=1e-6)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_two_tasks_have_the_closed_form(self, seed: int):
        a, b = jacobian(seed, tasks=2)
        share = np.clip((b - a) @ b / np.square(a - b).sum(), 0, 1)
        np.testing.assert_allclose(smallest_mixture(np.array([[a @ a, a @ b], [a @ b, b @ b]])), [share, 1 - share], atol=1e-7)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_what_a_long_run_of_frank_wolfe_comes_near(self, seed: int):
        gramian = torch.from_numpy(jacobian(seed) @ jacobian(seed).T)
        theirs = aggregation.MGDAWeighting(epsilon=1e-6, max_iters=3000)(gramian).numpy()
        np.testing.assert_allclose(smallest_mixture(gramian.numpy()), theirs, atol=5e-3)


class TestIMTLG:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_step_has_equal_projections_on_the_gradients_of_positive_weight_and_no_smaller_on_the_others(self, seed: int):
        rows = jacobian(seed)
        w = impartial(rows @ rows.T)
        along = rows @ (w @ rows) / np.linalg.norm(rows, axis=1)
        assert along[w > 0] == pytest.approx(along.min(), rel=1e-6)
        assert along.min() > 0
        assert w.sum() == pytest.approx(1)

    def test_it_is_the_closed_form_where_that_has_no_negative_weight(self):
        compared = 0
        for seed in SEEDS:
            gramian = torch.from_numpy(jacobian(seed) @ jacobian(seed).T)
            theirs = aggregation.IMTLGWeighting()(gramian).numpy()
            if (theirs >= 0).all():
                np.testing.assert_allclose(impartial(gramian.numpy()), theirs, rtol=1e-6)
                compared += 1
        assert compared >= 4


class TestAlignedMTL:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_aligned_gradients_have_equal_singular_values(self, seed: int):
        rows = jacobian(seed)
        before = np.linalg.svd(rows, compute_uv=False)
        for scale, value in {"min": before[-1], "median": before[2], "rmse": np.sqrt(np.square(before).mean())}.items():
            after = np.linalg.svd(alignment(rows @ rows.T, scale) @ rows, compute_uv=False)
            np.testing.assert_allclose(after, value, rtol=1e-6)

    @pytest.mark.parametrize("scale", ["min", "median", "rmse"])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_the_reference(self, scale: str, seed: int):
        gramian = torch.from_numpy(jacobian(seed) @ jacobian(seed).T)
        theirs = aggregation.AlignedMTLWeighting(scale_mode=scale)(gramian).numpy()
        np.testing.assert_allclose(alignment(gramian.numpy(), scale).mean(1), theirs, rtol=1e-8)

    def test_the_step_of_dependent_gradients_is_the_reference_and_no_weight_is_negative(self):
        rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        theirs = aggregation.AlignedMTLWeighting()(torch.from_numpy(rows @ rows.T)).numpy()
        np.testing.assert_allclose(alignment(rows @ rows.T, "min").mean(1) @ rows, theirs @ rows, rtol=1e-8)
        steep = [[10.0, 0.0], [0.9, 0.3]]
        assert alignment(np.array(steep) @ np.array(steep).T, "min").mean(1)[0] < 0
        assert weights("AlignedMTL", steep)[0] == 0


class TestNashMTL:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_solves_the_bargaining_equation_up_to_a_factor(self, seed: int):
        rows = jacobian(seed)
        gramian = rows @ rows.T
        w = bargained(gramian)
        assert w.sum() == pytest.approx(4)
        products = w * (gramian @ w)
        a = w / np.sqrt(products.mean())
        np.testing.assert_allclose(gramian @ a, 1 / a, rtol=1e-7)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_no_step_of_that_length_has_a_larger_product_of_gains(self, seed: int):
        rows = jacobian(seed)
        step = bargained(rows @ rows.T) @ rows
        step /= np.linalg.norm(step)
        best = np.log(rows @ step).sum()
        for other in np.random.default_rng(seed).normal(size=(200, 7)):
            near = step + 0.05 * other
            gains = rows @ near / np.linalg.norm(near)
            assert (gains <= 0).any() or np.log(gains).sum() <= best + 1e-9

    def test_a_multiplied_loss_has_the_same_step_direction(self):
        rows = jacobian(0)
        times = np.array([[1.0], [100.0], [0.01], [1.0]])
        one, other = bargained(rows @ rows.T) @ rows, bargained((rows * times) @ (rows * times).T) @ (rows * times)
        np.testing.assert_allclose(one / np.linalg.norm(one), other / np.linalg.norm(other), rtol=1e-6, atol=1e-9)


class ByNonnegativeLeastSquares(DualConeProjector):
    """Projections by SciPy: the least v' G v over v >= u, as `|root v|^2` for the Cholesky factor of G."""

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:
        root = np.linalg.cholesky(G.numpy()).T
        return torch.from_numpy(np.stack([u + optimize.nnls(root, -root @ u, maxiter=1000)[0] for u in U.numpy()]))


class TestUPGrad:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_the_reference(self, seed: int):
        gramian = torch.from_numpy(jacobian(seed) @ jacobian(seed).T)
        theirs = aggregation.UPGradWeighting(projector=ByNonnegativeLeastSquares())(gramian).numpy()
        np.testing.assert_allclose(unconflicting(gramian.numpy()), theirs, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_the_mean_of_projections_by_nonnegative_least_squares(self, seed: int):
        rows = jacobian(seed)
        parts = [row + optimize.nnls(rows.T, -row, maxiter=1000)[0] @ rows for row in rows]
        np.testing.assert_allclose(unconflicting(rows @ rows.T) @ rows, np.mean(parts, 0), rtol=1e-6, atol=1e-8)

    @settings(max_examples=60)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 9))
    def test_it_conflicts_with_no_task(self, seed: int, tasks: int, width: int):
        rows = jacobian(seed, tasks, width)
        w = unconflicting(rows @ rows.T)
        assert (w >= 1 / tasks - 1e-12).all()
        length = np.linalg.norm(rows, axis=1)
        assert (rows @ (w @ rows) / length).min() > -1e-5 * length.max()


class TestCAGrad:
    @pytest.mark.parametrize("radius", [0.1, 0.5, 0.9])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_worst_gain_is_the_least_of_the_dual_problem(self, seed: int, radius: float):
        rows = jacobian(seed)
        mean = rows.mean(0)
        step = conflict_averse(rows @ rows.T, radius) @ rows
        assert np.linalg.norm(step - mean) <= radius * np.linalg.norm(mean) * (1 + 1e-6)

        def dual(w: np.ndarray) -> float:
            return (w @ rows) @ mean + radius * np.linalg.norm(mean) * np.linalg.norm(w @ rows)

        simplex = {"type": "eq", "fun": lambda w: w.sum() - 1}
        optimum = optimize.minimize(dual, np.full(4, 1 / 4), bounds=[(0, 1)] * 4, constraints=simplex, options={"ftol": 1e-13})
        assert (rows @ step).min() == pytest.approx(optimum.fun, abs=1e-5 * np.square(rows).sum(1).max())

    def test_without_radius_it_is_the_mean(self):
        assert weights("CAGrad", CONFLICT, radius=0.0) == [0.5, 0.5]

    def test_weights_stay_bounded_where_a_step_can_hardly_improve_the_worst_task(self):
        rows = np.array([[1.0], [-1000.0]])
        np.testing.assert_allclose(conflict_averse(rows @ rows.T, 0.4), [0.5 + LARGEST * 0.4, 0.5], rtol=1e-6)


def surgery(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return PCGrad's step by projections of whole vectors."""
    step = np.zeros(rows.shape[1])
    for i, row in enumerate(rows):
        left = row.copy()
        for j in order[i]:
            if j != i and left @ rows[j] < 0:
                left -= left @ rows[j] / (rows[j] @ rows[j]) * rows[j]
        step += left
    return step


class TestPCGrad:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_surgery_on_vectors(self, seed: int):
        rows, order = jacobian(seed), orders(seed)
        np.testing.assert_allclose(projected(rows @ rows.T, order) @ rows, surgery(rows, order), rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_the_reference_in_the_same_order(self, seed: int):
        rows = jacobian(seed)
        order = orders(seed)
        torch.manual_seed(seed)
        theirs = aggregation.PCGradWeighting()(torch.from_numpy(rows @ rows.T)).numpy()
        np.testing.assert_allclose(projected(rows @ rows.T, order), theirs, rtol=1e-9)

    def test_orders_differ_from_step_to_step_with_the_seed(self):
        rows = jacobian(3).tolist()
        draws = []
        for seed in (0, 0, 1, 2, 3):
            torch.manual_seed(seed)
            draws.append(weights("PCGrad", rows))
        assert draws[0] == draws[1]
        assert len({tuple(draw) for draw in draws}) > 1


class TestGradVac:
    def test_two_gradients_are_brought_to_the_usual_cosine(self):
        usual = np.array([[0.0, 0.6], [0.0, 0.0]])
        w, after = vaccinated(np.eye(2), usual, 0.5, np.array([[0, 1], [1, 0]]))
        np.testing.assert_allclose(w, [1.0, 1.75])
        assert np.array([1, 0.75]) @ [0, 1] / np.linalg.norm([1, 0.75]) == pytest.approx(0.6)
        np.testing.assert_allclose(after, [[0, 0.3], [0, 0]])

    def test_it_is_the_reference_over_several_steps_in_the_same_order(self):
        reference, usual = aggregation.GradVacWeighting(beta=0.3), np.zeros((3, 3))
        for seed in SEEDS:
            rows = jacobian(seed, tasks=3)
            torch.manual_seed(seed)
            order = [[other for other in range(3) if other != i] for i in range(3)]
            order = np.array([[i, *(order[i][at] for at in torch.randperm(2).tolist())] for i in range(3)])
            torch.manual_seed(seed)
            theirs = reference(torch.from_numpy(rows @ rows.T)).numpy()
            w, usual = vaccinated(rows @ rows.T, usual, 0.3, order)
            np.testing.assert_allclose(w, theirs, rtol=1e-6)
        assert (usual[~np.eye(3, dtype=bool)] != 0).all()

    def test_the_usual_cosine_of_an_absent_task_stays(self):
        balance = kinds("balancers")["GradVac"](rate=0.5).build(("a", "b", "c"))
        at = {task: torch.tensor(1.0, requires_grad=True) for task in "abc"}
        balance(at, Explicit(jacobian(0, 3).tolist()))
        before = balance.usual_TT.clone()
        balance({"a": at["a"], "c": at["c"]}, Explicit(jacobian(1, 3).tolist()))
        changed = (balance.usual_TT != before).nonzero().tolist()
        assert changed == [[0, 2], [2, 0]]

    def test_equal_tasks_do_not_multiply_rounding(self):
        _, usual = vaccinated(np.ones((2, 2)), np.ones((2, 2)), 0.5, orders(0, 2))
        for _ in range(5):
            w, usual = vaccinated(np.array([[1.0, 1 - 1e-7], [1 - 1e-7, 1.0]]), usual, 0.5, orders(0, 2))
            np.testing.assert_allclose(w, 1, atol=0.01)


class TestNonnegative:
    @settings(max_examples=80)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 20))
    def test_it_solves_the_problem(self, seed: int, size: int):
        generator = np.random.default_rng(seed)
        root, pull = generator.normal(size=(size, size + 3)), generator.normal(size=size)
        matrix = root @ root.T
        x = nonnegative(matrix, pull)
        assert (x >= 0).all()
        slope = matrix @ x - pull
        assert slope.min() > -1e-9
        assert np.abs(slope[x > 0]).max(initial=0) < 1e-9

    def test_nothing_is_pulled_up_by_negative_pulls(self):
        np.testing.assert_array_equal(nonnegative(np.eye(3), -np.ones(3)), 0)


def averse(gramian: np.ndarray) -> np.ndarray:
    """Return CAGrad's weights at the paper's radius."""
    return conflict_averse(gramian, 0.4)


def aligned(gramian: np.ndarray) -> np.ndarray:
    """Return Aligned-MTL's weights before negative ones become zero."""
    return alignment(gramian, "min").mean(1)


SOLVERS = [smallest_mixture, impartial, bargained, unconflicting, averse, aligned]


@pytest.mark.parametrize("solve", SOLVERS, ids=lambda solve: solve.__name__)
@pytest.mark.parametrize("seed", SEEDS)
def test_permuted_tasks_have_permuted_weights(solve: Callable[[np.ndarray], np.ndarray], seed: int):
    for width in (2, 7):
        rows, order = jacobian(seed, 4, width), np.random.default_rng(seed).permutation(4)
        shuffled = rows[order]
        np.testing.assert_allclose(solve(shuffled @ shuffled.T), solve(rows @ rows.T)[order], rtol=1e-4, atol=1e-6)
