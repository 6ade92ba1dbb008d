"""The plots of a comparison hold what they are given, also where there is much or little of it."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from polyrec.report.compare_plots import Improvements, Panel, Point, epoch_curves


def texts(svg: str) -> set[str]:
    return {(element.text or "").strip() for element in ElementTree.fromstring(svg).iter()}


def test_curves_of_many_pairs_have_room_for_their_names():
    curves = {f"a{number}|b": [0.1, 0.2] for number in range(28)}
    svg = epoch_curves([("cosine", curves, 0.0), ("ratio", curves, 1.0)])
    assert {*curves, "cosine", "ratio", "epoch"} <= texts(svg)


def test_a_contender_without_figures_or_interval_keeps_its_row(tmp_path: Path):
    points = [Point("PLE", 0.01, math.nan, math.nan, "unclear"), Point("CGC", -0.01, -0.02, 0.0, "hurts")]
    names = {"PLE": "PLE", "CGC": "CGC", "STEM": "STEM (failed)"}
    plot = Improvements([Panel("like", "auc", points), Panel("stars", "rmse", [])], names, "PLE")
    assert {*names.values(), "like", "stars", "helps", "hurts", "unclear"} <= texts(plot.svg())
    plot.png(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert plot.svg() == plot.svg()
