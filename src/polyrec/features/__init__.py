"""Inputs of the model: columns of the table, and features derived from other features."""

from polyrec.features.categorical import Categorical
from polyrec.features.derived import Derived, DerivedEncoder, Reader
from polyrec.features.feature import Encoder, Feature
from polyrec.features.hashed import Hashed
from polyrec.features.history import History
from polyrec.features.joint import Joint
from polyrec.features.language_model import LanguageModel
from polyrec.features.light_gcn import LightGCN
from polyrec.features.multi_categorical import MultiCategorical
from polyrec.features.numeric import Numeric
from polyrec.features.piecewise import Piecewise
from polyrec.features.semantic_ids import SemanticIds
from polyrec.features.streamed import Streamed
from polyrec.features.text import Text
from polyrec.features.vector import Vector

__all__ = [
    "Categorical",
    "Derived",
    "DerivedEncoder",
    "Encoder",
    "Feature",
    "Hashed",
    "History",
    "Joint",
    "LanguageModel",
    "LightGCN",
    "MultiCategorical",
    "Numeric",
    "Piecewise",
    "Reader",
    "SemanticIds",
    "Streamed",
    "Text",
    "Vector",
]
