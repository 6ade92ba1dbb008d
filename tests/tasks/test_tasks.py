"""Each task's loss and prediction at values worked out by hand."""

import math

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyrec import Binary, Multiclass, Multilabel, Regression, UserError

logits = st.floats(-15, 15, width=32)
states = {"rate": pl.DataFrame({"rate": [0.5]}), "class": pl.DataFrame({"class": ["a", "b", "c"]})}
rows_of_three = st.lists(st.tuples(logits, logits, logits), min_size=1, max_size=6).map(torch.tensor)


class TestBinary:
    task = Binary(name="like", label="liked")

    def test_loss_is_cross_entropy_in_nats(self):
        loss = self.task.loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]))
        torch.testing.assert_close(loss, torch.tensor([math.log(2), math.log(1 + math.exp(2))]))

    @given(raw=st.lists(logits, min_size=1, max_size=8))
    def test_predicts_probabilities_strictly_between_0_and_1_in_the_order_of_the_logits(self, raw: list[float]):
        told = self.task.predict(torch.tensor(sorted(raw)), states["rate"])
        assert ((told > 0) & (told < 1)).all()
        assert (told.diff() >= 0).all()

    @given(raw=st.floats(allow_nan=False, width=32))
    def test_the_two_outcomes_share_out_one_however_far_off_the_logit(self, raw: float):
        told = self.task.predict(torch.tensor([raw, -raw]), states["rate"])
        assert ((told >= 0) & (told <= 1)).all()
        torch.testing.assert_close(told.sum(), torch.tensor(1.0))

    @given(raw=logits, target=st.sampled_from([0.0, 1.0]))
    def test_loss_is_minus_the_logarithm_of_what_came_true(self, raw: float, target: float):
        wide = torch.tensor([raw], dtype=torch.float64)
        p = self.task.predict(wide, states["rate"])
        expected = -torch.log(p if target else 1 - p)
        torch.testing.assert_close(self.task.loss(wide, torch.tensor([target], dtype=torch.float64)), expected)

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

    @given(
        labels=st.lists(st.floats(-100, 100), min_size=2, max_size=9).filter(lambda own: max(own) - min(own) > 0.1),
        unit=st.floats(0.01, 100),
        shift=st.floats(-100, 100),
    )
    def test_what_it_learns_from_does_not_change_with_the_unit_and_predictions_are_in_it(
        self, labels: list[float], unit: float, shift: float
    ):
        here, there = pl.Series(labels), pl.Series([unit * label + shift for label in labels])
        targets = [self.task.targets(own, self.task.fit(own)) for own in (here, there)]
        torch.testing.assert_close(targets[1], targets[0], rtol=1e-3, atol=1e-3)
        for own, target in zip((here, there), targets, strict=True):
            told = self.task.predict(target.double(), self.task.fit(own))
            torch.testing.assert_close(told, own.to_torch(), rtol=0, atol=1e-6 * own.std(ddof=0))

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

    @given(raw=rows_of_three)
    def test_predicts_shares_of_one_in_the_order_of_the_logits(self, raw: torch.Tensor):
        told = self.task.predict(raw, states["class"])
        assert ((told > 0) & (told <= 1)).all()
        torch.testing.assert_close(told.sum(1), torch.ones(len(raw)))
        assert (told.gather(1, raw.argsort(1)).diff(dim=1) >= 0).all()

    @given(raw=rows_of_three, shift=st.floats(-50, 50, width=32))
    def test_a_number_added_to_all_logits_of_a_row_changes_nothing(self, raw: torch.Tensor, shift: float):
        raw, target = raw.double(), torch.zeros(len(raw), dtype=torch.long)
        shifted = raw + shift
        torch.testing.assert_close(self.task.predict(shifted, states["class"]), self.task.predict(raw, states["class"]))
        torch.testing.assert_close(self.task.loss(shifted, target), self.task.loss(raw, target))

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

    @given(raw=rows_of_three, changed=st.integers(0, 2), value=logits)
    def test_predicts_a_probability_a_label_whatever_is_said_of_the_others(self, raw: torch.Tensor, changed: int, value: float):
        told = self.task.predict(raw, states["class"])
        assert ((told > 0) & (told < 1)).all()
        other = raw.clone()
        other[:, changed] = value
        others = [label for label in range(3) if label != changed]
        assert torch.equal(self.task.predict(other, states["class"])[:, others], told[:, others])

    def test_loss_is_the_mean_over_labels(self):
        loss = self.task.loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
        torch.testing.assert_close(loss, torch.tensor([(math.log(2) + math.log(1 + math.exp(2))) / 2]))
