"""Plots of a search: they name what they show, mark the chosen trial, and give the same bytes for the same figures."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from polyrec.report.tuning_plots import front_panels, history, slices


def texts(svg: str) -> set[str]:
    return {text for element in ElementTree.fromstring(svg).iter() if (text := (element.text or "").strip())}


@pytest.mark.parametrize("higher", [True, False])
def test_the_history_names_its_objective(higher: bool):
    svg = history("like.auc", higher, [(0, 0.5), (1, 0.7), (3, 0.6)], [(2, -5.0)])
    assert {"like.auc", "trial", "best so far", "complete", "pruned"} <= texts(svg)
    assert "pruned" not in texts(history("like.auc", higher, [(0, 0.5)], []))


def test_slices_have_a_panel_for_each_setting():
    panels = {
        "training.learning_rate": ([1e-4, 1e-2], [0.5, 0.6], 1),
        "network": (["MMoE", "SharedBottom"], [0.5, 0.6], None),
    }
    assert {"training.learning_rate", "network", "MMoE", "SharedBottom", "utility"} <= texts(slices("utility", panels))


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_front_says_which_way_is_better_and_is_also_a_picture(tmp_path: Path, objectives: int):
    names, higher = ["like.auc", "stars.rmse", "like.ece"][:objectives], [True, False, False][:objectives]
    values = [[0.7, 0.9, 0.1][:objectives], [0.8, 1.0, 0.2][:objectives], [0.6, 1.1, 0.3][:objectives]]
    arguments = (names, higher, values, [True, True, False], [4, 17, 9], 0, 2, tmp_path / "front.png")
    svg = front_panels(*arguments)
    assert {"like.auc (higher is better)", "stars.rmse (lower is better)", "Pareto front", "4", "17"} <= texts(svg)
    assert {"written to best.yaml", "as declared"} <= texts(svg)
    picture = (tmp_path / "front.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert front_panels(*arguments) == svg
    assert (tmp_path / "front.png").read_bytes() == picture
    unnumbered = texts(front_panels(*arguments[:4], None, *arguments[5:], chosen="taken"))
    assert "taken" in unnumbered
    assert not {"4", "17", "written to best.yaml"} & unnumbered
