"""What every calibrator keeps: probabilities in order, the same bits in any company, and nothing mended that is not broken."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec import kinds
from polyrec.calibration.calibrator import Calibrator, State
from polyrec.core.files import read_parquet, write_parquet

EDGES = torch.tensor([0.0, 1e-38, 1e-12, 1e-7, 0.5, 1 - 6e-8, 1.0])


def rows(seed: int = 0, count: int = 20_000, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return single-precision probabilities and what came true: calibrated where `power` is 1, else with the logits off."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-1, 1.5, count)
    target = (generator.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return (1 / (1 + np.exp(-power * logit))).astype(np.float32), target


def class_rows(seed: int = 0, count: int = 20_000, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of four classes and the class that came true."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 4))
    target = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    return torch.softmax(torch.from_numpy(power * logits), 1).float().numpy(), target


def learned(calibrator: Calibrator, power: float = 2.0) -> State:
    return calibrator.fit(*rows(power=power))


def kept(calibrator: Calibrator, probability: torch.Tensor) -> torch.Tensor:
    """Return probabilities as far as the calibrator's own bounds, where it has any, let them pass."""
    return probability.clamp(getattr(calibrator, "lowest", 0.0), getattr(calibrator, "highest", 1.0))


@given(seed=st.integers(0, 10**6), size=st.integers(0, 40))
def test_probabilities_of_the_same_shape_and_type(calibrator: Calibrator, seed: int, size: int):
    state = learned(calibrator)
    for dtype in (torch.float32, torch.float64):
        asked = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
        calibrated = calibrator.apply(asked, state)
        assert (calibrated.shape, calibrated.dtype) == (asked.shape, dtype)
        assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert ((calibrator.apply(EDGES, state) >= 0) & (calibrator.apply(EDGES, state) <= 1)).all()


@pytest.mark.parametrize("power", [-1.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_order_of_rows_is_never_turned_round(calibrator: Calibrator, power: float, dtype: torch.dtype):
    state = learned(calibrator, power)
    asked = torch.cat([torch.linspace(0, 1, 200_001, dtype=dtype), torch.from_numpy(rows()[0]).to(dtype), EDGES.to(dtype)])
    assert (calibrator.apply(asked.sort().values, state).diff() >= 0).all()


def test_a_batch_gives_the_bits_of_its_rows_alone(calibrator: Calibrator):
    state, asked = learned(calibrator), torch.from_numpy(rows(seed=1)[0])[:3001]
    whole = calibrator.apply(asked, state)
    assert torch.equal(calibrator.apply(asked, state), whole)
    for size in (1, 2, 3, 7, 17, 64, 1000):
        assert torch.equal(torch.cat([calibrator.apply(part, state) for part in asked.split(size)]), whole)
    assert torch.equal(calibrator.apply(torch.stack([asked, asked], 1)[:, 1], state), whole)


def test_what_is_calibrated_stays_as_it_is(calibrator: Calibrator):
    asked = torch.linspace(0.05, 0.9, 100)
    calibrated = calibrator.apply(asked, learned(calibrator, power=1.0))
    assert (calibrated - kept(calibrator, asked)).abs().mean() < 0.02


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_what_is_too_sure_or_not_sure_enough_is_mended(calibrator: Calibrator, power: float):
    said, _ = rows(seed=2, power=power)
    meant = torch.from_numpy(rows(seed=2)[0])
    calibrated = calibrator.apply(torch.from_numpy(said), learned(calibrator, power))
    before = (torch.from_numpy(said) - meant).abs().mean()
    assert (calibrated - kept(calibrator, meant)).abs().mean() < before / 4


def test_the_order_of_the_rows_that_it_learns_from_does_not_matter(calibrator: Calibrator):
    prediction, target = rows(power=2.0)
    order = np.random.default_rng(0).permutation(len(target))
    asked = torch.linspace(0, 1, 101).double()
    again = calibrator.apply(asked, calibrator.fit(prediction[order], target[order]))
    torch.testing.assert_close(again, calibrator.apply(asked, learned(calibrator)), rtol=1e-9, atol=1e-9)


def test_the_state_survives_parquet(calibrator: Calibrator, tmp_path: Path):
    state, asked = learned(calibrator), torch.from_numpy(rows(seed=1)[0])
    write_parquet(tmp_path / "state.parquet", state)
    again = read_parquet(tmp_path / "state.parquet")
    assert again.equals(state)
    assert torch.equal(calibrator.apply(asked, again), calibrator.apply(asked, state))


def test_one_prediction_throughout_becomes_a_probability(calibrator: Calibrator):
    state = calibrator.fit(np.full(40, 0.25, np.float32), np.array([1.0, 0, 0, 0] * 10, np.float32))
    assert calibrator.apply(torch.tensor([0.25]), state).item() == pytest.approx(0.25, abs=0.02)


def test_rows_that_are_told_apart_without_error_leave_finite_probabilities(calibrator: Calibrator):
    prediction = np.linspace(0.01, 0.99, 60).astype(np.float32)
    calibrated = calibrator.apply(
        torch.from_numpy(prediction), calibrator.fit(prediction, (prediction > 0.5).astype(np.float32))
    )
    assert torch.isfinite(calibrated).all()
    assert (calibrated[30:] > 0.5).all() and (calibrated[:30] < 0.5).all()


def test_a_prediction_that_is_no_number_stays_none(calibrator: Calibrator):
    for state in (learned(calibrator), calibrator.fit(np.full(40, 0.25), np.array([1.0, 0.0] * 20))):
        assert calibrator.apply(torch.tensor([0.5, float("nan")]), state).isnan().tolist() == [False, True]


def test_only_temperature_reads_several_probabilities_a_row():
    package = {name: kind for name, kind in kinds("calibrators").items() if kind.__module__.startswith("polyrec.")}
    assert {name for name, kind in package.items() if kind.several} == {"Temperature"}


SEVERAL = [
    pytest.param(kind(**example), id=f"{name}{position}")
    for name, kind in kinds("calibrators").items()
    if kind.several
    for position, example in enumerate(kind.examples)
]


@pytest.mark.parametrize("reader", SEVERAL)
class TestSeveral:
    """Calibrators that also read several probabilities a row."""

    def test_classes_stay_a_distribution_with_the_same_first(self, reader: Calibrator):
        prediction, target = class_rows(power=2.0)
        asked = torch.from_numpy(prediction)
        calibrated = reader.apply(asked, reader.fit(prediction, target))
        torch.testing.assert_close(calibrated.sum(1), torch.ones(len(calibrated)))
        assert torch.equal(calibrated.argmax(1), asked.argmax(1))
        truth = torch.from_numpy(class_rows()[0])
        assert (calibrated - truth).abs().mean() < (asked - truth).abs().mean() / 4

    def test_labels_are_calibrated_each_for_itself(self, reader: Calibrator):
        prediction, target = rows(power=2.0)
        state = reader.fit(prediction.reshape(-1, 4), target.reshape(-1, 4))
        calibrated = reader.apply(torch.from_numpy(prediction.reshape(-1, 4)), state)
        torch.testing.assert_close(calibrated.reshape(-1), reader.apply(torch.from_numpy(prediction), learned(reader)))

    @pytest.mark.parametrize("power", [-1.0, 0.3, 3.0])
    def test_the_order_of_rows_is_never_turned_round_in_a_label(self, reader: Calibrator, power: float):
        prediction, target = rows(power=power)
        state = reader.fit(prediction.reshape(-1, 4), target.reshape(-1, 4))
        asked = torch.from_numpy(prediction.reshape(-1, 4)).sort(0).values
        assert (reader.apply(asked, state).diff(dim=0) >= 0).all()

    @settings(max_examples=30)
    @given(seed=st.integers(0, 10**6), power=st.sampled_from([0.3, 1.0, 3.0]))
    def test_the_order_of_the_classes_of_a_row_is_never_turned_round(self, reader: Calibrator, seed: int, power: float):
        state = reader.fit(*class_rows(count=500, power=power))
        asked = torch.from_numpy(class_rows(seed, count=50)[0]).sort(1).values
        calibrated = reader.apply(asked, state)
        assert (calibrated.diff(dim=1) >= 0).all()
        torch.testing.assert_close(calibrated.sum(1), torch.ones(len(calibrated)))

    def test_a_batch_gives_the_bits_of_its_rows_alone(self, reader: Calibrator):
        prediction, target = class_rows(power=2.0)
        asked, state = torch.from_numpy(prediction)[:1001], reader.fit(prediction, target)
        whole = reader.apply(asked, state)
        for size in (1, 3, 17, 500):
            assert torch.equal(torch.cat([reader.apply(part, state) for part in asked.split(size)]), whole)
