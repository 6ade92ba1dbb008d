"""Recommenders print what one wants to see of them, in a terminal and in a notebook."""

import polars as pl

from polyrec import Categorical, Fitted, LightGCN, Recommender


def test_a_recommender_prints_its_features_tasks_and_parts(small: Recommender):
    text = str(small)
    assert str(small) == f"{small}"
    lines = text.splitlines()
    (history,) = (line for line in lines if "liked" in line)
    assert [cell.strip() for cell in history.strip("│ ").split("│")] == ["user", "liked", "History", "item_id", "8"]
    (interest,) = (line for line in lines if "interest" in line)
    assert "Multilabel" in interest
    assert "user" in interest
    assert "network     MMoE(experts=2, hidden=(16,))" in lines
    assert "training    Training(epochs=6, batch_size=256, learning_rate=0.01)" in lines
    assert "balancing   FixedWeights()" in lines


def test_a_derived_feature_and_a_link_name_what_they_read(small: Recommender):
    graph = LightGCN(name="circle", of="user_id", to="item_id", width=8)
    linked = small.tasks[0].replace(name="again", after="like")
    text = str(small.replace(user=(*small.user, graph), tasks=(*small.tasks, linked)))
    assert "user_id, item_id" in text
    assert "like (Product)" in text


def test_its_repr_is_code(small: Recommender):
    assert repr(small).startswith("Recommender(user=(Categorical(name='user_id'")
    assert repr(small.user[0]) == repr(Categorical(name="user_id", width=8))


def test_a_fitted_recommender_prints_rows_tasks_and_validation(fitted: Fitted, split: tuple[pl.DataFrame, pl.DataFrame]):
    text = str(fitted)
    parameters = fitted.parts.facts.training.parameters
    assert text.startswith(f"MMoE of {parameters:,} parameters, fitted by Polyrec ")
    assert f"5,000 rows, 80 users, 60 items; epoch {fitted.parts.facts.training.best_epoch} of 6" in text
    (like,) = (line for line in text.splitlines() if "Binary" in line)
    assert f"auc {fitted.parts.facts.training.validation['like.auc']:.4g}" in like
    assert "loss" not in like
    assert repr(fitted) == "<Fitted: MMoE, tasks like, stars, interest>"


def test_both_show_the_same_in_a_notebook(fitted: Fitted, small: Recommender):
    for thing, word in ((fitted, "Regression"), (small, "History")):
        page = thing._repr_html_()
        assert page.startswith("<pre")
        assert word in page


def test_names_of_columns_are_text_and_no_markup(small: Recommender):
    task = small.tasks[0].replace(name="[red]like")
    printed = str(small.replace(tasks=(task, *small.tasks[1:]), fusion="Add"))
    assert "[red]like" in printed
