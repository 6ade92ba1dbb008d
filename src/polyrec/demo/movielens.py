"""The declaration of the demo: three tasks on MovieLens-100k."""

from __future__ import annotations

from polyrec.features.categorical import Categorical
from polyrec.features.history import History
from polyrec.features.multi_categorical import MultiCategorical
from polyrec.features.numeric import Numeric
from polyrec.features.text import Text
from polyrec.fusion.multiply import Multiply
from polyrec.networks.mmoe import MMoE
from polyrec.recommender import Recommender
from polyrec.tasks.binary import Binary
from polyrec.tasks.multilabel import Multilabel
from polyrec.tasks.regression import Regression
from polyrec.train.training import Training


def recommender(seed: int = 0) -> Recommender:
    """Return the demo's recommender.

    `like` and `stars` are of a user and a film; `interest`, the genres that a user will like next, is observed where the film
    was liked, and predicted from the user's side alone.
    """
    return Recommender(
        user=(
            Categorical(name="user_id"),
            Categorical(name="occupation"),
            Categorical(name="gender"),
            Numeric(name="age"),
            History(name="watched", of="item_id"),
            History(name="liked", of="item_id", where="rating >= 4"),
        ),
        item=(
            Categorical(name="item_id"),
            Numeric(name="year"),
            MultiCategorical(name="genres"),
            Text(name="text", template="{title}. {genres}"),
        ),
        tasks=(
            Binary(name="like", label="rating >= 4"),
            Regression(name="stars", label="rating"),
            Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END", inputs="user"),
        ),
        network=MMoE(experts=4, hidden=(64,), dropout=0.3),
        fusion=Multiply(powers={"like": 1.0, "stars": 0.5}),
        training=Training(epochs=40, optimizer="adamw", weight_decay=0.1, seed=seed),
    )
