"""Each task's loss and prediction at values worked out by hand."""

import math

import polars as pl
import pytest
import torch

from polyrec import Binary, Multiclass, Multilabel, Regression, UserError


class TestBinary:
    task = Binary(name="like", label="liked")

    def test_loss_is_cross_entropy_in_nats(self):
        loss = self.task.loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]))
        torch.testing.assert_close(loss, torch.tensor([math.log(2), math.log(1 + math.exp(2))]))

    def test_constant_is_the_logit_of_the_rate(self):
        assert float(torch.sigmoid(self.task.constant(torch.tensor([1.0, 0.0, 0.0, 0.0])))) == pytest.approx(0.25)

    @pytest.mark.parametrize("labels", [pl.Series([0, 2]), pl.Series([0.5]), pl.Series(["yes"])])
    def test_other_labels_are_refused(self, labels: pl.Series):
        with pytest.raises(UserError, match="label 'liked' of the task 'like': expected .*0 and 1"):
            self.task.fit(labels)


class TestRegression:
    task = Regression(name="stars", label="rating")
    labels = pl.Series([1.0, 3.0, 5.0])

    def test_works_in_units_of_the_deviation_and_predicts_in_the_labels(self):
        state = self.task.fit(self.labels)
        targets = self.task.targets(self.labels, state)
        deviation = math.sqrt(8 / 3)
        torch.testing.assert_close(targets, torch.tensor([-2 / deviation, 0.0, 2 / deviation]))
        torch.testing.assert_close(self.task.predict(targets, state), torch.tensor([1.0, 3.0, 5.0]))
        torch.testing.assert_close(self.task.loss(torch.zeros(3), targets), targets.square())

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_no_number_is_refused(self, bad: float):
        with pytest.raises(UserError, match="found NaN or infinity in 1 rows, first in row 1"):
            self.task.fit(pl.Series([1.0, bad]))


class TestMulticlass:
    task = Multiclass(name="department", label="department")
    labels = pl.Series(["tops", "dresses", "tops"])

    def test_classes_are_sorted_and_name_the_columns(self):
        assert self.task.names(self.task.fit(self.labels)) == ("department.dresses", "department.tops")

    def test_loss_is_cross_entropy(self):
        loss = self.task.loss(torch.tensor([[0.0, math.log(3)]]), torch.tensor([1]))
        torch.testing.assert_close(loss, torch.tensor([math.log(4 / 3)]))

    def test_a_class_first_met_later_is_not_observed(self):
        state = self.task.fit(self.labels)
        assert self.task.observed(pl.Series(["tops", "shoes", None]), state).tolist() == [True, False, False]


class TestMultilabel:
    task = Multilabel(name="interest", label="genres")
    labels = pl.Series([["war", "drama"], [], None, ["drama", "unheard of"]])

    def test_empty_is_none_of_them_and_null_is_not_observed(self):
        state = self.task.fit(pl.Series([["war"], ["drama"]]))
        assert self.task.targets(self.labels, state).tolist() == [[1, 1], [0, 0], [0, 0], [1, 0]]
        assert self.task.observed(self.labels, state).tolist() == [True, True, False, True]

    def test_loss_is_the_mean_over_labels(self):
        loss = self.task.loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
        torch.testing.assert_close(loss, torch.tensor([(math.log(2) + math.log(1 + math.exp(2))) / 2]))
