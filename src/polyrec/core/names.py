"""The names that more than one part of the project, or a reader of its files, relies on."""

from __future__ import annotations

FORMAT = 4
"""Version of the artifact's layout; a loader refuses one that it does not know."""

SPEC_FILE = "spec.yaml"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.md"
STATE_FOLDER = "state"
MANIFEST_FILE = "manifest.json"

SCORE = "score"
"""Column of the fused score in predictions and recommendations."""

TIME_COLUMNS = ("timestamp", "time")
"""Columns that are taken for the time of an interaction where none is declared."""

CACHE_VARIABLE = "POLYREC_CACHE"
"""Environment variable that moves the cache of data sets and text vectors."""

FORMATS = ("onnx", "torch")
"""What a fitted recommender can be exported as."""

PREPARED_VARIABLE = "POLYREC_PREPARED_GIB"
"""Environment variable that bounds the size of all prepared tables together, in GiB; 0 keeps none."""
