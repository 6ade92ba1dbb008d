"""Labels from SQL expressions, and the check that no feature leaks a label."""

import polars as pl
import pytest
from pydantic import ValidationError

from polyrec import Binary, Categorical, History, Multilabel, Numeric, Recommender, Regression, Text, UserError
from polyrec.data.conditions.expressions import evaluate
from polyrec.data.labels import check_learnable, read_labels

FRAME = pl.DataFrame({"rating": [5, 3, None], "genres": [["a"], ["b"], ["c"]], "note": ["x", "y", "z"]})


class TestLabels:
    def test_a_column(self):
        assert read_labels(FRAME, Regression(name="stars", label="rating")).to_list() == [5, 3, None]

    def test_null_stays_not_observed_through_a_condition(self):
        assert read_labels(FRAME, Binary(name="like", label="rating >= 4")).to_list() == [True, False, None]

    def test_lists_under_a_condition(self):
        task = Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END")
        assert read_labels(FRAME, task).to_list() == [["a"], None, None]

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("rating >=", "expected a SQL expression"),
            ("__import__('os').getcwd()", "expected an allowed function, found '__import__'"),
            ("ratng >= 4", "expected a column 'ratng', found no such column. Did you mean 'rating'"),
            ("SUM(rating)", "expected an allowed function, found 'SUM'"),
            ("note > 3", "expected an expression that fits the types of its columns"),
        ],
    )
    def test_expressions_that_do_not_fit_are_refused(self, sql: str, message: str):
        with pytest.raises(UserError, match=message):
            evaluate(FRAME, sql, "label of the task 'like'")

    @pytest.mark.parametrize(
        ("values", "message"),
        [([None, None], "null in all 2 rows"), ([1, 1, None], "1 in all 2 observed rows"), ([], "null in all 0 rows")],
    )
    def test_labels_that_teach_nothing_are_refused(self, values: list, message: str):
        task = Regression(name="stars", label="rating")
        with pytest.raises(UserError, match=f"label 'rating' of the task 'stars'.*{message}"):
            check_learnable(pl.Series(values, dtype=pl.Int64), task)


class TestLeakage:
    def test_a_label_column_as_a_feature_is_refused(self):
        with pytest.raises(ValidationError, match="feature 'score_of_it' of the task 'like'.*column 'rating'"):
            Recommender(
                features=(Numeric(name="score_of_it", column="rating"),), tasks=(Binary(name="like", label="rating >= 4"),)
            )

    def test_a_label_column_inside_a_text_is_refused(self):
        with pytest.raises(ValidationError, match="column 'rating'"):
            Recommender(
                features=(Text(name="t", template="{note} {rating}"),), tasks=(Binary(name="like", label="rating >= 4"),)
            )

    def test_a_task_that_cannot_see_the_feature_is_fine(self):
        Recommender(
            user=(Categorical(name="user_id"),),
            item=(Categorical(name="item_id"), Text(name="t", template="{genres}")),
            tasks=(Multilabel(name="interest", label="genres", inputs="user"), Binary(name="like", label="rating >= 4")),
        )

    def test_a_history_may_read_past_labels(self):
        Recommender(
            user=(Categorical(name="user_id"), History(name="liked", of="item_id", where="rating >= 4")),
            item=(Categorical(name="item_id"),),
            tasks=(Binary(name="like", label="rating >= 4"),),
        )
