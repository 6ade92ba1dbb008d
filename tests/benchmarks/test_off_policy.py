"""The simulator of off-policy estimates is what it says, and the intervals cover its truth, in few runs."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "off_policy.py"


@pytest.fixture(scope="module")
def simulator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("off_policy_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_truth_is_what_the_target_earns_when_it_serves(simulator: ModuleType):
    for setting in (simulator.SETTINGS[4], simulator.SETTINGS[5], simulator.SETTINGS[9]):
        world = simulator.World(setting)
        served = simulator.World(setting)
        object.__setattr__(served, "logging", world.target)
        clicks = served.log(0, users=20_000)[0].group_by("user").agg(clicks=simulator.pl.col("click").sum() / 2)["clicks"]
        error = float(clicks.std()) / np.sqrt(len(clicks))
        assert abs(float(clicks.mean()) - world.value(world.target)) < 4 * error


def test_propensities_are_those_with_which_items_are_drawn(simulator: ModuleType):
    world = simulator.World(simulator.SETTINGS[6])
    log, candidates = world.log(0, users=5000)
    inverse = (1 / log["propensity"]).mean()
    free = np.mean([simulator.ITEMS - rank for rank in range(3)])
    assert inverse == pytest.approx(free, rel=0.03)
    sums = candidates.group_by("request", "position").agg(simulator.pl.col("probability").sum())["probability"]
    np.testing.assert_allclose(sums, 1)


@pytest.mark.parametrize("number", [0, 3, 4])
def test_intervals_cover_the_truth_and_doubly_robust_is_the_narrowest(simulator: ModuleType, number: int):
    found = simulator.run(simulator.SETTINGS[number], runs=40, users=400)["estimators"]
    assert set(found) == {"ips", "snips", *(f"dr, {model} model" for model in simulator.MODELS)}
    for own in found.values():
        assert own["coverage"] >= 0.85
        assert abs(own["bias"]) < 4 * own["deviation"] / np.sqrt(40)
        assert own["standard_error"] == pytest.approx(own["deviation"], rel=0.4)
    for model in ("true", "fitted"):
        assert found[f"dr, {model} model"]["deviation"] < found["ips"]["deviation"]
        assert found[f"dr, {model} model"]["standard_error"] < found["ips"]["standard_error"]


def test_the_command_writes_its_figures(simulator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["", "--runs", "2", "--users", "100", "--out", str(out)])
    simulator.main()
    told = json.loads(out.read_text())
    assert told["requests"] == 200
    assert len(told["settings"]) == 12
    assert all(len(own["estimators"]) == 6 for own in told["settings"].values())
