"""The two-task id model of the Keras tutorials: 1,000 users, 1,000 items, width 64; click and interest; Adam."""

import numpy as np
import polars as pl

from polyrec import Binary, Categorical, Recommender, SharedBottom, Training

generator = np.random.default_rng(0)
user, item = generator.integers(1000, size=(2, 50_000))
of_users, of_items = generator.normal(size=(2, 1000, 2))
taste = of_users[user] + of_items[item] + of_users[user] * of_items[item] + generator.normal(size=(50_000, 2))
table = pl.DataFrame({"user_id": user, "item_id": item, "clicked": taste[:, 0] > 0, "interested": taste[:, 1] > 0})

recommender = Recommender(
    user=(Categorical(name="user_id", width=64),),
    item=(Categorical(name="item_id", width=64),),
    tasks=(Binary(name="click", label="clicked"), Binary(name="interest", label="interested")),
    network=SharedBottom(hidden=(64,)),
    training=Training(optimizer="Adam", learning_rate=1e-3, batch_size=256, epochs=5),
)
fitted = recommender.fit(table[:40_000])
print(fitted.evaluate(table[40_000:], ranking=False))
print(fitted.recommend(user_id=7, k=5))
