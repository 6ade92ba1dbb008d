"""Reliability diagrams: two panels that name the task and the errors."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from polyrec.artifact.facts import CalibrationFacts
from polyrec.evaluate.metrics.reliability import reliability
from polyrec.report.training_page import reliability_panels


def calibration(prediction: np.ndarray, target: np.ndarray) -> CalibrationFacts:
    curve = reliability(prediction, target).to_dict()
    return CalibrationFacts("Isotonic", len(target), 0.1234, 0.0456, curve, curve)


def texts(svg: str) -> list[str]:
    return [text for element in ElementTree.fromstring(svg).iter() if (text := (element.text or "").strip())]


def test_both_panels_name_the_task_and_its_error():
    generator = np.random.default_rng(0)
    prediction = generator.random(500)
    svg = reliability_panels("like", calibration(prediction, (generator.random(500) < prediction).astype(float)))
    assert {"like, before: error 0.1234", "like, after: error 0.0456", "mean prediction"} <= set(texts(svg))
    assert "1.0" in texts(svg)


def test_a_rare_event_fills_its_panels():
    generator = np.random.default_rng(0)
    prediction = generator.random(5000) / 50
    svg = reliability_panels("buy", calibration(prediction, (generator.random(5000) < prediction).astype(float)))
    numbers = [float(text) for text in texts(svg) if text.replace(".", "").isdigit()]
    assert max(numbers) < 0.1
