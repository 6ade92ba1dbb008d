"""Writing, for real and as an estimate: what is known is read, what is missing is asked for, within the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import polars as pl

from polyrec.core.errors import UserError, missing_extra
from polyrec.core.progress import progress_bar
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.language.endpoint.chat import Messages, Reply, Usage, check_schema
from polyrec.language.endpoint.endpoint import Endpoint
from polyrec.writing.budget import Budget
from polyrec.writing.data_block import messages, printable
from polyrec.writing.declaration import Declaration
from polyrec.writing.journal import Journal, digest
from polyrec.writing.writing import Subjects, Writing

HOPELESS = 20
"""Answers without a single good one after which a model is given up."""


@dataclass(frozen=True)
class Estimate:
    """What a run would send."""

    rows: int
    """Rows that something would be written of."""
    known: int
    """Rows whose answer the journal holds."""
    requests: int
    """Requests to send; rows with the same data share one."""
    input_tokens: int
    """Tokens to read, estimated; a repaired answer takes about twice as many."""
    output_tokens: int
    """Tokens to write, at most."""
    cost: float | None
    """What that costs, at most; None without prices."""
    counted: str
    """How the tokens to read were counted."""
    first: Messages
    """The first request, whether or not its answer is known."""


@dataclass(frozen=True)
class Written:
    """What a run wrote."""

    table: pl.DataFrame
    """One row for each key with an answer: the key, then the columns written."""
    rows: int
    """Rows that something was to be written of."""
    requests: int
    """Requests that this run sent, repairs counted with the request that they repair."""
    usage: Usage
    """Tokens of this run."""
    cost: float | None
    """What they cost; None without prices."""
    failed: int
    """Rows whose answer did not fit the schema. They are asked for again by the next run."""
    problem: str
    """What was wrong with the last of those."""
    stopped: str
    """Which budget ended the run; empty where it came to its end."""


class _Plan:
    """The requests of a run by row, made anew whenever they are needed: a million prompts are not kept in memory."""

    def __init__(self, writing: Writing, subjects: Subjects) -> None:
        self.writing, self.subjects, self.schema = writing, subjects, writing.schema_of_answers()
        check_schema(self.schema)
        for name in subjects.kept.columns:
            if name in writing.answer:
                remedy = "Give the answer another name."
                raise UserError(f"answer {name!r}", expected="a new column", found="one of the table", remedy=remedy)
        self.keys: dict[int, bytes] = {}
        self.first_row: dict[bytes, int] = {}
        for row in range(subjects.frame.height):
            data = subjects.data(row)
            if data:
                key = digest(writing.chat, messages(writing.instruction, data), self.schema)
                self.keys[row] = key
                self.first_row.setdefault(key, row)
        if not self.keys:
            found = f"none in {subjects.frame.height} rows"
            raise UserError("the template", expected="data in the columns that it names", found=found, remedy="Name others.")

    def messages(self, key: bytes) -> Messages:
        return messages(self.writing.instruction, self.subjects.data(self.first_row[key]))

    def table(self, answers: Mapping[bytes, Mapping[str, Any]]) -> pl.DataFrame:
        """Return the table of the rows that have an answer."""
        rows = [row for row, key in self.keys.items() if key in answers]
        columns = [
            pl.Series(name, [_plain(answers[self.keys[row]][name]) for row in rows], dtype=kind, strict=False)
            for name, kind in self.writing.types().items()
        ]
        return self.subjects.kept[rows].hstack(columns)


def estimate(writing: Writing, data: Source | Tables, recommender: Declaration | None) -> Estimate:
    """Return what `write` would send, without a connection."""
    plan = _Plan(writing, writing.subjects(data, recommender))
    with Journal() as journal:
        known = journal.found(plan.first_row)
    count, counted = _counter(writing)
    missing = [key for key in plan.first_row if key not in known]
    read = sum(count(message["content"]) for key in missing for message in plan.messages(key))
    usage = Usage(read, writing.chat.max_tokens * len(missing))
    held = sum(key in known for key in plan.keys.values())
    first = plan.messages(next(iter(plan.first_row)))
    return Estimate(len(plan.keys), held, len(missing), usage.input, usage.output, writing.chat.cost(usage), counted, first)


def write(writing: Writing, data: Source | Tables, recommender: Declaration | None, progress: bool) -> Written:
    """Return what the journal holds and the server adds."""
    plan = _Plan(writing, writing.subjects(data, recommender))
    budget = Budget(writing)
    with Journal() as journal:
        answers = journal.found(plan.first_row)
        missing = [key for key in plan.first_row if key not in answers]
        replies = _ask_all(plan, missing, budget, progress) if missing else iter(())
        sent, failed, problem = 0, set(), ""
        for key, reply in replies:
            sent += 1
            if reply.value is None:
                failed.add(key)
                problem = reply.problem
            else:
                journal.keep(key, reply.value)
                answers[key] = reply.value
            if sent == len(failed) == HOPELESS:
                break
    if not answers:
        if budget.stopped:
            raise budget.too_small()
        thing, remedy = f"model {writing.chat.model!r}", "Ask for less in `answer`, or name a model that can answer in JSON."
        raise UserError(thing, expected="answers that fit the schema", found=f"none of {sent}: {problem}", remedy=remedy)
    lost = sum(key in failed for key in plan.keys.values())
    cost = writing.chat.cost(budget.spent)
    return Written(plan.table(answers), len(plan.keys), sent, budget.spent, cost, lost, problem, budget.stopped)


def _ask_all(plan: _Plan, keys: list[bytes], budget: Budget, progress: bool) -> Iterator[tuple[bytes, Reply]]:
    """Yield replies as they come, `in_flight` at a time, until the budget would not bear another.

    After a failure of the server those in flight are still yielded, then it is raised.
    """
    chat = plan.writing.chat
    queue = iter(keys)
    waiting: dict[Future[Reply], tuple[bytes, Usage]] = {}
    failure: UserError | None = None
    with Endpoint(chat) as endpoint, progress_bar("writing", len(keys), disable=not progress) as bar:
        pool = ThreadPoolExecutor(chat.in_flight)
        try:
            while True:
                while failure is None and len(waiting) < chat.in_flight and (key := next(queue, None)) is not None:
                    request = plan.messages(key)
                    reserved = budget.reserve(request)
                    if reserved is None:
                        queue = iter(())
                        break
                    waiting[pool.submit(chat.ask, endpoint, request, plan.schema)] = key, reserved
                if not waiting:
                    break
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    key, reserved = waiting.pop(done)
                    error = done.exception()
                    if isinstance(error, UserError):
                        budget.settle(reserved, Usage())
                        failure = error
                        continue
                    reply = done.result()
                    budget.settle(reserved, reply.usage)
                    bar.advance(note=budget.note())
                    yield key, reply
        finally:
            pool.shutdown(cancel_futures=True)
    if failure is not None:
        remedy = f"{failure.remedy} Answers until now are kept: run the same again to go on."
        raise UserError(failure.thing, expected=failure.expected, found=failure.found, remedy=remedy) from failure


def _counter(writing: Writing) -> tuple[Any, str]:
    """Return what counts the tokens of a text, and its description."""
    if writing.tokenizer is None:
        return (lambda text: -(-len(text) // 4)), "four characters a token"
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "language", "a tokenizer") from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(writing.tokenizer)
    except (OSError, ValueError) as error:
        found = str(error).strip().partition("\n")[0]
        remedy = "Name a folder that holds one, or leave `tokenizer` out."
        raise UserError(f"tokenizer {writing.tokenizer!r}", expected="a tokenizer", found=found, remedy=remedy) from error
    return (lambda text: len(tokenizer(text, truncation=False)["input_ids"])), f"the tokenizer {writing.tokenizer}"


def _plain(value: Any) -> Any:
    """Return what a model wrote without control characters."""
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return printable(value).strip() if isinstance(value, str) else value
