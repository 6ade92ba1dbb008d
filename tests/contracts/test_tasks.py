"""What every task keeps. Shape letters: B rows, C outputs.

Labels are columns of several types that all follow from one hidden number; a task learns from the first of them that it
accepts.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyrec import UserError
from polyrec.core.files import read_parquet, write_parquet
from polyrec.tasks.head import Head
from polyrec.tasks.task import NUMBERS, State, Task

ROWS = 60
HIDDEN = np.random.default_rng(0).uniform(-1, 1, ROWS)
THIRD = np.digitize(HIDDEN, (-0.4, 0.3))

LABELS = {
    "floats": pl.Series(2 + 1.5 * HIDDEN),
    "strings": pl.Series(["low", "middle", "top"]).gather(THIRD),
    "lists of strings": pl.Series([["a"], ["a", "b"], []]).gather(THIRD),
    "integers": pl.Series(THIRD),
    "booleans": pl.Series(HIDDEN > 0),
    "structs of label and limit": pl.DataFrame({"label": np.minimum(2 + 1.5 * HIDDEN, 2.6), "limit": [2.6] * ROWS}).to_struct(),
    "structs of label, group, user and item": pl.DataFrame(
        {"label": HIDDEN > 0, "group": np.arange(ROWS) % 7, "user": np.arange(ROWS) % 11, "item": THIRD}
    ).to_struct(),
    "structs of label and an item's numbers": pl.DataFrame(
        {"label": HIDDEN > -0.8, "numbers": pl.Series(np.column_stack([THIRD, HIDDEN > 0]), dtype=pl.Array(pl.Int32, 2))}
    ).to_struct(),
}
UNLEARNABLE = {
    "structs": pl.Series([{"stars": 1}, {"stars": 2}]),
    "lists of lists": pl.Series([[[1.0]], [[2.0]]]),
    "lists of structs": pl.Series([[{"stars": 1}], [{"stars": 2}]]),
}
ODD = {"dates": pl.Series([date(2024, 1, 1), date(2024, 1, 2)]), "bytes": pl.Series([b"a", b"b"]), **LABELS}


@dataclass(frozen=True)
class Lesson:
    """A task with labels that it accepts and what it learned from them."""

    task: Task
    labels: pl.Series
    state: State

    @property
    def targets(self) -> Tensor:
        return self.task.targets(self.labels, self.state)

    def raw(self, rows: int, seed: int = 0) -> Tensor:
        """Return what an untrained head might say, (B,) or (B, C)."""
        outputs = self.task.outputs(self.state)
        noise = torch.randn(rows, outputs, generator=torch.Generator().manual_seed(seed))
        return noise.squeeze(1) if outputs == 1 else noise


@pytest.fixture(scope="module")
def lesson(task: Task) -> Lesson:
    for labels in LABELS.values():
        try:
            return Lesson(task, labels, task.fit(labels))
        except UserError:
            continue
    pytest.fail(f"{task!r} accepts none of the labels: {', '.join(LABELS)}")


class TestLabels:
    @pytest.mark.parametrize("labels", UNLEARNABLE.values(), ids=UNLEARNABLE)
    def test_of_no_use_are_refused_by_name(self, task: Task, labels: pl.Series):
        with pytest.raises(UserError, match=repr(task.name)):
            task.fit(labels)

    @pytest.mark.parametrize("labels", ODD.values(), ids=ODD)
    def test_of_any_type_are_accepted_or_refused_by_name(self, task: Task, labels: pl.Series):
        refusal = _refusal(task, labels)
        assert refusal is None or repr(task.name) in refusal

    def test_that_are_null_do_not_count_and_harm_nothing(self, lesson: Lesson):
        is_null = pl.Series(np.arange(ROWS) % 3 == 0)
        labels = _without(lesson, is_null)
        observed = lesson.task.observed(labels, lesson.state)
        targets = lesson.task.targets(labels, lesson.state)
        assert observed.dtype == torch.bool
        assert observed.tolist() == (~is_null).to_list()
        assert torch.isfinite(targets.double()).all()
        assert torch.equal(targets[observed], lesson.targets[observed])
        assert torch.isfinite(lesson.task.loss(lesson.raw(ROWS), targets)).all()

    def test_of_a_column_without_a_type_do_not_count(self, lesson: Lesson):
        """A column that is null throughout has no type: it is no other label, but none."""
        if isinstance(lesson.labels.dtype, pl.Struct):
            return
        labels = pl.Series([None] * ROWS)
        assert labels.dtype == pl.Null
        assert not lesson.task.observed(labels, lesson.state).any()
        assert torch.isfinite(lesson.task.targets(labels, lesson.state).double()).all()

    def test_that_are_all_null_do_not_count(self, lesson: Lesson):
        labels = lesson.labels.clear(ROWS)
        assert not lesson.task.observed(labels, lesson.state).any()
        assert torch.isfinite(lesson.task.targets(labels, lesson.state).double()).all()

    def test_become_a_target_each_whatever_the_other_rows(self, lesson: Lesson):
        assert len(lesson.targets) == ROWS
        some = lesson.labels[7:20]
        assert torch.equal(lesson.task.targets(some, lesson.state), lesson.targets[7:20])

    def test_in_another_order_teach_the_same(self, lesson: Lesson):
        again = lesson.task.fit(lesson.labels.reverse())
        torch.testing.assert_close(
            lesson.task.predict(lesson.raw(ROWS), again), lesson.task.predict(lesson.raw(ROWS), lesson.state)
        )
        torch.testing.assert_close(lesson.task.targets(lesson.labels, again), lesson.targets)


class TestLoss:
    def test_is_one_finite_number_a_row(self, lesson: Lesson):
        loss = lesson.task.loss(lesson.raw(ROWS), lesson.targets)
        assert loss.shape == (ROWS,)
        assert torch.isfinite(loss).all()

    def test_is_finite_where_the_raw_output_is_far_off(self, lesson: Lesson):
        assert torch.isfinite(lesson.task.loss(30 * lesson.raw(ROWS), lesson.targets)).all()

    def test_of_a_row_moves_its_own_raw_output_and_no_other_but_of_its_group(self, lesson: Lesson):
        raw = lesson.raw(ROWS).requires_grad_()
        group = lesson.task.group(lesson.targets)
        if lesson.task.relates_rows:
            row = int(lesson.task.counts(lesson.targets).nonzero()[0])
            compared = torch.ones(ROWS, dtype=torch.bool) if group is None else group == group[row]
            lesson.task.loss(raw, lesson.targets)[row].backward()
            assert raw.grad is not None and torch.isfinite(raw.grad).all()
            assert raw.grad[row].any() and not raw.grad[~compared].any()
            return
        lesson.task.loss(raw, lesson.targets)[3].backward()
        assert raw.grad is not None and torch.isfinite(raw.grad).all()
        moved = raw.grad.reshape(ROWS, -1).abs().sum(1).nonzero().flatten()
        assert moved.tolist() == [3]

    def test_follows_its_gradient_down(self, lesson: Lesson):
        raw = lesson.raw(ROWS).requires_grad_()
        before = lesson.task.loss(raw, lesson.targets).mean()
        before.backward()
        assert raw.grad is not None
        after = lesson.task.loss(raw.detach() - 0.01 * ROWS * raw.grad, lesson.targets).mean()
        assert after < before


class TestConstant:
    def test_has_the_shape_of_a_raw_output(self, lesson: Lesson):
        outputs = lesson.task.outputs(lesson.state)
        assert lesson.task.constant(lesson.targets).shape == ((1,) if outputs == 1 else (1, outputs))

    def test_serves_however_few_the_targets(self, lesson: Lesson):
        for row in range(0, ROWS, 6):
            targets = lesson.targets[row : row + 1]
            loss = lesson.task.loss(lesson.task.constant(targets), targets)
            assert torch.isfinite(loss).all()
            assert loss <= lesson.task.loss(lesson.raw(1, row), targets)


class TestPrediction:
    def test_has_a_column_for_each_name(self, lesson: Lesson):
        names = lesson.task.names(lesson.state)
        prediction = lesson.task.predict(lesson.raw(ROWS), lesson.state)
        assert len(set(names)) == len(names)
        assert prediction.shape == ((ROWS,) if lesson.task.is_scalar else (ROWS, len(names)))
        assert torch.isfinite(prediction).all()

    def test_is_named_after_the_task(self, lesson: Lesson):
        names = lesson.task.names(lesson.state)
        if lesson.task.is_scalar:
            assert names == (lesson.task.name,)
        else:
            assert all(name.startswith(f"{lesson.task.name}.") for name in names)

    def test_of_a_row_depends_on_no_other_row(self, lesson: Lesson):
        raw = lesson.raw(ROWS)
        whole = lesson.task.predict(raw, lesson.state)
        torch.testing.assert_close(lesson.task.predict(raw[[5, 2, 5]], lesson.state), whole[[5, 2, 5]])

    def test_has_a_truth_for_every_row(self, lesson: Lesson):
        truth = lesson.task.truth(lesson.targets, lesson.state)
        assert len(truth) == ROWS
        assert torch.isfinite(truth.double()).all()

    def test_survives_parquet(self, lesson: Lesson, tmp_path):
        write_parquet(tmp_path / "state.parquet", lesson.state)
        again = read_parquet(tmp_path / "state.parquet")
        raw = lesson.raw(ROWS)
        assert lesson.task.names(again) == lesson.task.names(lesson.state)
        assert torch.equal(lesson.task.predict(raw, again), lesson.task.predict(raw, lesson.state))
        assert torch.equal(lesson.task.targets(lesson.labels, again), lesson.targets)

    def test_is_measured_by_metrics_with_names(self, task: Task):
        assert task.metrics
        assert len(set(task.metrics)) == len(task.metrics)
        assert all(isinstance(name, str) and name for name in task.metrics)


class TestHead:
    def test_maps_hidden_states_to_raw_outputs(self, lesson: Lesson):
        outputs = lesson.task.outputs(lesson.state)
        head = lesson.task.build(6, lesson.state)
        assert head(*_hidden(lesson, torch.randn(ROWS, 6))).shape == lesson.raw(ROWS).shape
        assert head(*_hidden(lesson, torch.randn(1, 6))).shape == ((1,) if outputs == 1 else (1, outputs))

    def test_learns_what_can_be_learned(self, lesson: Lesson):
        """The best constant is all that a head can say that does not listen: hidden states that tell all beat it."""
        torch.manual_seed(0)
        head, targets = lesson.task.build(6, lesson.state), lesson.targets
        constant = lesson.task.constant(targets)
        skill_less = lesson.task.loss(constant.expand(ROWS, *constant.shape[1:]), targets).mean()
        assert _trained(head, lesson) < skill_less


def _refusal(task: Task, labels: pl.Series) -> str | None:
    try:
        task.targets(labels, task.fit(labels))
    except UserError as error:
        return str(error)
    return None


def _trained(head: Head, lesson: Lesson) -> Tensor:
    hidden = torch.from_numpy(np.column_stack([HIDDEN, HIDDEN > 0, np.eye(3)[THIRD], np.ones(ROWS)])).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        lesson.task.loss(head(*_hidden(lesson, hidden)), lesson.targets).mean().backward()
        optimizer.step()
    head.eval()
    return lesson.task.loss(head(*_hidden(lesson, hidden)), lesson.targets).mean()


def _hidden(lesson: Lesson, hidden_BH: Tensor) -> list[Tensor]:
    """Return a hidden state for each of the task's views, and the item's numbers for a task that is given them."""
    views = [hidden_BH] * len(lesson.task.views)
    if lesson.task.numbers_of is None:
        return views
    return [*views, lesson.labels.struct.field(NUMBERS).to_torch().float()[: len(hidden_BH)]]


def _without(lesson: Lesson, is_null: pl.Series) -> pl.Series:
    """Return the labels with some null: as a whole, or, where a task relates rows, only the label in the struct."""
    if not lesson.task.relates_rows:
        return lesson.labels.zip_with(~is_null, pl.Series([None] * ROWS, dtype=lesson.labels.dtype))
    fields = lesson.labels.struct.unnest()
    return fields.with_columns(label=pl.when(~is_null).then("label")).to_struct()


def _wide(targets: Tensor) -> Tensor:
    """Return targets in double precision where they are numbers, as they are where they are classes."""
    return targets.double() if targets.is_floating_point() else targets


@settings(max_examples=20)
@given(data=st.data())
def test_loss_of_a_row_depends_on_no_other_row_but_of_its_group(lesson: Lesson, data: st.DataObject):
    rows = data.draw(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS))
    group = lesson.task.group(lesson.targets)
    if lesson.task.relates_rows:
        kept = torch.ones(ROWS, dtype=torch.bool) if group is None else torch.isin(group, group[rows])
        rows = data.draw(st.permutations(kept.nonzero().flatten().tolist()))
    raw, targets = lesson.raw(ROWS), lesson.targets
    torch.testing.assert_close(lesson.task.loss(raw[rows], targets[rows]), lesson.task.loss(raw, targets)[rows])


@settings(max_examples=20)
@given(is_null=st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), seed=st.integers(0, 10**6))
def test_loss_never_asks_for_an_unobserved_row(lesson: Lesson, is_null: list[bool], seed: int):
    """Compared with the others of its group where the task has groups; else its item may stand among the negatives."""
    null = torch.tensor(is_null)
    targets = lesson.task.targets(_without(lesson, pl.Series(is_null)), lesson.state)
    counts = lesson.task.counts(targets) & ~null
    raw = lesson.raw(ROWS, seed)
    if lesson.task.relates_rows:
        assert not lesson.task.counts(targets)[null].any()
    if not lesson.task.relates_rows or lesson.task.group(targets) is not None:
        other = torch.where(null.reshape(-1, *[1] * (raw.dim() - 1)), lesson.raw(ROWS, seed + 1), raw)
        torch.testing.assert_close(lesson.task.loss(other, targets)[counts], lesson.task.loss(raw, targets)[counts])


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), size=st.floats(1e-3, 1.0))
def test_constant_is_better_than_any_constant_beside_it(lesson: Lesson, seed: int, size: float):
    best = lesson.task.constant(lesson.targets)
    other = best + size * lesson.raw(1, seed)
    losses = [
        lesson.task.loss(raw.expand(ROWS, *raw.shape[1:]).double(), _wide(lesson.targets)).mean() for raw in (best, other)
    ]
    assert losses[0] <= losses[1] + 1e-6
