"""Names shared by several packages and by readers of saved files."""

from __future__ import annotations

FORMAT = 4
"""Version of the artifact's layout; loaders refuse unknown versions."""

SPEC_FILE = "spec.yaml"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.md"
STATE_FOLDER = "state"
MANIFEST_FILE = "manifest.json"

SCORE = "score"
"""Column of the fused score in predictions and recommendations."""

TIME_COLUMNS = ("timestamp", "time")
"""Columns read as the time of an interaction if none is declared."""

CACHE_VARIABLE = "POLYREC_CACHE"
"""Environment variable with the folder of the cache of data sets and text vectors."""

FORMATS = ("onnx", "torch")
"""Formats to which a fitted recommender can be exported."""

PREPARED_VARIABLE = "POLYREC_PREPARED_GIB"
"""Environment variable with the maximum total size of prepared tables in GiB; 0 keeps none."""
