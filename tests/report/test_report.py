"""Plots and pages: valid, self-contained, escaped."""

import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from polyrec.report.page import Section, Table, write_page
from polyrec.report.plots import gate_map, learning_curves, metric_points

CURVES = [{"like.loss": 0.6, "like.skill": 0.1}, {"like.loss": 0.5, "like.skill": 0.2, "stars.loss": 1.0}]


def texts(svg: str) -> str:
    return " ".join(text for element in ElementTree.fromstring(svg).iter() if (text := (element.text or "").strip()))


def test_learning_curves_name_their_tasks():
    assert {"like", "stars", "epoch"} <= set(texts(learning_curves(CURVES, ["like", "stars"], 2)).split())


def test_metric_points_write_their_values():
    svg = metric_points([("auc", {"single": (0.71, 0.7, 0.72), "multi": (0.75, 0.74, 0.76)})])
    assert {"0.710", "0.750", "single", "multi"} <= set(texts(svg).split())


def test_gates_write_their_weights():
    assert {"0.25", "0.75", "like"} <= set(texts(gate_map(np.array([[0.25, 0.75]]), ["like"])).split())


def test_the_same_figures_give_the_same_bytes():
    assert learning_curves(CURVES, ["like"], 1) == learning_curves(CURVES, ["like"], 1)


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(attributes)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_self_contained_and_escapes_what_it_shows(tmp_path: Path):
    evil = "<script>alert('x')</script>"
    svg = learning_curves(CURVES, [evil], 1)
    write_page(tmp_path / "r.html", evil, evil, [Section(evil, evil, svg, [Table([evil], [[evil]])])])
    reader = Reader()
    reader.feed((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "script" not in reader.tags
    assert not {"src", "href"} & set(reader.attributes)
    assert reader.text.count(evil) >= 5


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'polyrec\[report\]'"):
        gate_map(np.ones((1, 1)), ["a"])
