"""The declaration of the demo: four tasks on MovieLens-100k."""

from __future__ import annotations

from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.calibration.platt import Platt
from polyrec.declaration.training import Training
from polyrec.features.categorical import Categorical
from polyrec.features.history import History
from polyrec.features.multi_categorical import MultiCategorical
from polyrec.features.numeric import Numeric
from polyrec.features.text import Text
from polyrec.fusion.multiply import Multiply
from polyrec.language.post_processing import PostProcessing
from polyrec.networks.mmoe import MMoE
from polyrec.recommender import Recommender
from polyrec.tasks.binary import Binary
from polyrec.tasks.multilabel import Multilabel
from polyrec.tasks.regression import Regression
from polyrec.tasks.retrieval import Retrieval

WIDTH = 64
"""Width of every feature."""

TEXT = PostProcessing(method="components", width=16, normalise=True)
"""The first 16 components of the texts' vectors; with all 384 components, each of the 1,700 texts is memorised like an id."""


def recommender(seed: int = 0) -> Recommender:
    """Return the demo's recommender.

    `like` and `stars` depend on user and film. `interest`, the genres that a user will like next, is observed for liked films
    and predicted from the user features only. Its loss is a mean over 19 genres, most of them easy, and therefore needs a large
    weight. `met` distinguishes films that the user will interact with from random films; its loss is large since each positive
    is one among a thousand candidates. `new_items` raises the scores of films without interactions, which `met` would otherwise
    never retrieve. Weights, decay, dropout, text width and `new_items` were chosen on other random splits of these ratings.
    """
    return Recommender(
        user=(
            Categorical(name="user_id", width=WIDTH),
            Categorical(name="occupation", width=WIDTH),
            Categorical(name="gender", width=WIDTH),
            Numeric(name="age", width=WIDTH),
            History(name="watched", of="item_id", length=20, width=WIDTH),
            History(name="liked", of="item_id", where="rating >= 4", length=20, width=WIDTH),
        ),
        item=(
            Categorical(name="item_id", minimum_count=5, id_dropout=0.1, width=WIDTH),
            Numeric(name="year", width=WIDTH),
            MultiCategorical(name="genres", width=WIDTH),
            Text(name="text", template="{title}. {genres}", post=TEXT, width=WIDTH),
        ),
        tasks=(
            Binary(name="like", label="rating >= 4"),
            Regression(name="stars", label="rating"),
            Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END", inputs="user"),
            Retrieval(name="met", label="rating IS NOT NULL", negatives=256, temperature=0.1, new_items=0.05),
        ),
        network=MMoE(experts=4, hidden=(64,), dropout=0.5),
        balancing=FixedWeights(weights={"interest": 10.0, "met": 0.3}),
        calibration={"like": Platt()},
        fusion=Multiply(powers={"met": 20.0, "like": 1.0, "stars": 0.5}),
        training=Training(epochs=40, optimizer="adamw", learning_rate=2e-3, weight_decay=0.05, seed=seed),
    )
