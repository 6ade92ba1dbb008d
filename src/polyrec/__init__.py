"""Polyrec: one recommender for many tasks, with language models inside.

from polyrec import Binary, Categorical, Recommender, Regression

recommender = Recommender(
    user=(Categorical(name="user_id"),),
    item=(Categorical(name="item_id"),),
    tasks=(Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating")),
)
fitted = recommender.fit("ratings.parquet")
"""

__version__ = "0.1.0"

from polyrec import datasets
from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.core.errors import UserError
from polyrec.core.schema import json_schema
from polyrec.core.spec import families, kinds
from polyrec.data.query import Query
from polyrec.data.splits import LastSplit, RandomSplit, TimeSplit
from polyrec.data.tables import Tables
from polyrec.features.categorical import Categorical
from polyrec.features.history import History
from polyrec.features.multi_categorical import MultiCategorical
from polyrec.features.numeric import Numeric
from polyrec.features.text import Text
from polyrec.features.vector import Vector
from polyrec.fitted import Fitted
from polyrec.fusion.add import Add
from polyrec.fusion.multiply import Multiply
from polyrec.language.hugging_face import HuggingFace
from polyrec.language.package import Package
from polyrec.networks.mmoe import MMoE
from polyrec.networks.shared_bottom import SharedBottom
from polyrec.recommender import Recommender
from polyrec.tasks.binary import Binary
from polyrec.tasks.multiclass import Multiclass
from polyrec.tasks.multilabel import Multilabel
from polyrec.tasks.regression import Regression
from polyrec.train.training import Training

load = Fitted.load

__all__ = [
    "Add",
    "Binary",
    "Categorical",
    "Fitted",
    "FixedWeights",
    "History",
    "HuggingFace",
    "LastSplit",
    "MMoE",
    "MultiCategorical",
    "Multiclass",
    "Multilabel",
    "Multiply",
    "Numeric",
    "Package",
    "Query",
    "RandomSplit",
    "Recommender",
    "Regression",
    "SharedBottom",
    "Tables",
    "Text",
    "TimeSplit",
    "Training",
    "UserError",
    "Vector",
    "datasets",
    "families",
    "json_schema",
    "kinds",
    "load",
]
