"""The benchmarks run, and their data are what they say."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from polyrec import Recommender

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mmoe_generator", FOLDER / "mmoe_generator.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class TestMMoEGenerator:
    @pytest.mark.parametrize("relation", [0.0, 0.5, 0.9, 1.0])
    def test_weights_have_unit_length_and_the_cosine_asked_for(self, generator: ModuleType, relation: float):
        for seed in range(3):
            w_TD = generator.generate(relation, seed, 10, 2.0).w_TD
            np.testing.assert_allclose(w_TD @ w_TD.T, [[1, relation], [relation, 1]], atol=1e-12)

    def test_labels_are_alike_as_the_tasks_are_related(self, generator: ModuleType):
        correlations = np.array(
            [
                [
                    np.corrcoef(generator.generate(relation, seed, 5000, 2.0).y_NT.numpy().T)[0, 1]
                    for relation in generator.RELATIONS
                ]
                for seed in range(10)
            ]
        ).mean(0)
        assert (np.diff(correlations) > 0.05).all()
        assert abs(correlations[0]) < 0.05
        assert correlations[-1] > 0.98

    def test_equal_tasks_differ_by_noise_of_the_stated_variance_alone(self, generator: ModuleType):
        data = generator.generate(1.0, 0, 20_000, 2.0)
        difference = (data.y_NT[:, 0] - data.y_NT[:, 1]).numpy()
        assert difference.var() == pytest.approx(2 * 0.01, rel=0.05)
        assert data.noise_NT.var() == pytest.approx(0.01, rel=0.05)

    def test_labels_are_the_formula(self, generator: ModuleType):
        data = generator.generate(0.5, 3, 50, 2.0)
        draws = np.random.default_rng(3)
        draws.normal(size=(100, 2))
        alpha, beta = draws.normal(scale=2, size=10), draws.uniform(0, 2 * np.pi, 10)
        for task in range(2):
            z = data.x_ND.numpy().astype(float) @ data.w_TD[task]
            by_hand = z + sum(np.sin(a * z + b) for a, b in zip(alpha, beta, strict=True)) + data.noise_NT[:, task]
            np.testing.assert_allclose(data.y_NT[:, task].numpy(), by_hand, atol=1e-4)

    def test_arms_are_of_equal_size(self, generator: ModuleType):
        sizes = [generator.parameters(build()) for build in generator.ARMS.values()]
        assert max(sizes) < 1.05 * min(sizes)

    def test_intervals_are_those_of_student(self, generator: ModuleType):
        found = generator.interval(np.array([1.0, 2.0, 3.0]))
        assert found["mean"] == pytest.approx(2)
        assert found["half"] == pytest.approx(4.302653 / np.sqrt(3))

    @pytest.mark.slow
    def test_runs_on_few_rows(self, generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        out = tmp_path / "figures.json"
        monkeypatch.syspath_prepend(FOLDER)
        monkeypatch.setattr(sys, "argv", ["", "--quick", "--datasets", "2", "--jobs", "1", "--out", str(out)])
        generator.main()
        facts = json.loads(out.read_text())
        assert set(facts["figures"]) == {"0.0", "0.5", "0.9", "1.0"}
        assert all(len(rows) == 2 for rows in facts["figures"].values())
        for rows, lines in zip(facts["figures"].values(), facts["summary"].values(), strict=True):
            paired = np.mean([row["mmoe"] - row["shared_bottom"] for row in rows])
            assert lines["mmoe - shared_bottom"]["mean"] == pytest.approx(paired)
        assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_declaration_of_adult_reads_no_column_of_a_label():
    recommender = Recommender.from_yaml(FOLDER / "adult.yaml")
    assert [task.name for task in recommender.tasks] == ["income", "never_married", "long_hours"]
    read = {column for feature in recommender.features for column in feature.columns}
    assert len(read) == 12
    assert not read & {"income", "marital_status", "hours_per_week"}
