"""Labels of the test rows are the same for the model of all tasks and for single-task models."""

from pathlib import Path

import numpy as np
import polars as pl

from polyrec import Binary, Categorical, Pairwise, Recommender, Regression
from polyrec.compare.fits.tables import split_tables
from polyrec.compare.truths import read_truths


def test_a_task_after_another_is_judged_over_all_rows(tmp_path: Path):
    frame = pl.DataFrame({"shelf": [0, 1, 2, 3] * 50, "click": [1, 1, 0, 0] * 50, "buy": [1, 0, None, None] * 50})
    tasks = (Binary(name="click", label="click"), Binary(name="buy", label="buy", after="click"))
    spec = Recommender(features=(Categorical(name="shelf", width=4),), tasks=tasks)
    split = split_tables(spec, frame, None, 0.5, tmp_path)
    truths = read_truths(spec, split, 10)
    assert truths["buy"].mask.all()
    assert truths["buy"].target.mean() < truths["click"].target.mean()


def test_resamples_draw_users_also_for_tasks_with_groups_of_their_own(tmp_path: Path):
    rows = 400
    frame = pl.DataFrame(
        {"user": [row // 40 for row in range(rows)], "request": [row // 4 for row in range(rows)], "rating": [1, 2, 3, 4] * 100}
    )
    tasks = (Pairwise(name="order", label="rating", within="request"), Regression(name="stars", label="rating"))
    spec = Recommender(user=(Categorical(name="user", width=4),), tasks=tasks)
    split = split_tables(spec, frame, frame, 0.5, tmp_path)
    truth = read_truths(spec, split, 5)["order"]
    assert truth.users == 10
    assert len(np.unique(truth.group)) == 100
    for draw in truth.draws_RN:
        assert all(len(set(counts)) == 1 for counts in draw.reshape(10, 40))
