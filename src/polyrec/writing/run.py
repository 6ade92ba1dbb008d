"""Run a writing, or estimate its cost: read answers from the journal, request the missing ones within the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import polars as pl

from polyrec.core.errors import UserError, missing_extra
from polyrec.core.progress import progress_bar
from polyrec.language.endpoint.chat import Chat, Messages, Reply, Usage, check_schema
from polyrec.language.endpoint.endpoint import Endpoint
from polyrec.writing.budget import Budget
from polyrec.writing.data_block import messages, printable
from polyrec.writing.journal import Journal, digest
from polyrec.writing.template import Subjects

HOPELESS = 20
"""Number of invalid answers, with no valid one among them, after which the run stops."""


@dataclass(frozen=True)
class Estimate:
    """Requests, tokens and cost of a run that is not sent."""

    rows: int
    """Number of rows with data to write about."""
    known: int
    """Number of rows whose answer is in the journal."""
    requests: int
    """Number of requests to send; rows with the same data share one."""
    input_tokens: int
    """Estimated number of input tokens; a repaired answer takes about twice as many."""
    output_tokens: int
    """Largest number of output tokens."""
    cost: float | None
    """Largest cost; None without prices."""
    counted: str
    """How the input tokens were counted."""
    first: Messages
    """The first request, whether or not its answer is in the journal."""


@dataclass(frozen=True)
class Written:
    """The table that a run wrote, and what the run took."""

    table: pl.DataFrame
    """One row for each key with an answer: the key, then the written columns."""
    rows: int
    """Number of rows with data to write about."""
    requests: int
    """Number of requests sent; a repair counts with the request that it repairs."""
    usage: Usage
    """Tokens of this run."""
    cost: float | None
    """Cost of these tokens; None without prices."""
    failed: int
    """Number of rows whose answer did not fit the schema. The next run requests them again."""
    problem: str
    """Why the last of these answers did not fit."""
    stopped: str
    """Which budget ended the run; empty if it completed."""


class Plan:
    """The requests of a run by row. Prompts are rendered when needed, because a million of them would fill the memory.

    `schema` is the JSON Schema of an answer, `types` holds the type of each column to write.
    """

    def __init__(
        self,
        chat: Chat,
        instruction: str,
        schema: Mapping[str, Any],
        types: Mapping[str, pl.DataType],
        subjects: Subjects,
    ) -> None:
        self.chat, self.instruction, self.schema, self.types, self.subjects = chat, instruction, schema, types, subjects
        check_schema(schema)
        for name in subjects.kept.columns:
            if name in types:
                remedy = "Give the answer another name."
                raise UserError(f"answer {name!r}", expected="a new column", found="one of the table", remedy=remedy)
        self.keys: dict[int, bytes] = {}
        self.first_row: dict[bytes, int] = {}
        for row in range(subjects.frame.height):
            data = subjects.data(row)
            if data:
                key = digest(chat, messages(instruction, data), schema)
                self.keys[row] = key
                self.first_row.setdefault(key, row)
        if not self.keys:
            found = f"none in {subjects.frame.height} rows"
            raise UserError("the template", expected="data in the columns that it names", found=found, remedy="Name others.")

    def messages(self, key: bytes) -> Messages:
        """Return the request with a key."""
        return messages(self.instruction, self.subjects.data(self.first_row[key]))

    def table(self, answers: Mapping[bytes, Mapping[str, Any]]) -> pl.DataFrame:
        """Return the table of the rows that have an answer."""
        rows = [row for row, key in self.keys.items() if key in answers]
        columns = [
            pl.Series(name, [_plain(answers[self.keys[row]][name]) for row in rows], dtype=kind, strict=False)
            for name, kind in self.types.items()
        ]
        return self.subjects.kept[rows].hstack(columns)


def estimate(plan: Plan, tokenizer: str | None) -> Estimate:
    """Return what `write` would send, without a connection."""
    with Journal() as journal:
        answers = journal.answers(plan.first_row)
    count, counted = _counter(tokenizer)
    missing = [key for key in plan.first_row if key not in answers]
    input_tokens = sum(count(message["content"]) for key in missing for message in plan.messages(key))
    usage = Usage(input_tokens, plan.chat.max_tokens * len(missing))
    known = sum(key in answers for key in plan.keys.values())
    first = plan.messages(next(iter(plan.first_row)))
    return Estimate(len(plan.keys), known, len(missing), usage.input, usage.output, plan.chat.cost(usage), counted, first)


def write(plan: Plan, budget: Budget, progress: bool) -> Written:
    """Return the table of the answers in the journal and those that the server adds."""
    with Journal() as journal:
        answers = journal.answers(plan.first_row)
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
        thing, remedy = f"model {plan.chat.model!r}", "Request less in `answer`, or name a model that can answer in JSON."
        raise UserError(thing, expected="answers that fit the schema", found=f"none of {sent}: {problem}", remedy=remedy)
    failed_rows = sum(key in failed for key in plan.keys.values())
    cost = plan.chat.cost(budget.spent)
    return Written(plan.table(answers), len(plan.keys), sent, budget.spent, cost, failed_rows, problem, budget.stopped)


def _ask_all(plan: Plan, keys: list[bytes], budget: Budget, progress: bool) -> Iterator[tuple[bytes, Reply]]:
    """Yield replies as they arrive, `in_flight` at a time, until the budget does not cover another request.

    After a server failure the replies in flight are still yielded; then the error is raised.
    """
    chat = plan.chat
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
                    bar.advance(1, budget.note())
                    yield key, reply
        finally:
            pool.shutdown(cancel_futures=True)
    if failure is not None:
        remedy = f"{failure.remedy} The answers so far are kept: run the same again to go on."
        raise UserError(failure.thing, expected=failure.expected, found=failure.found, remedy=remedy) from failure


def _counter(name: str | None) -> tuple[Any, str]:
    """Return a function that counts the tokens of a text by the tokenizer of a name, and its description."""
    if name is None:
        return (lambda text: -(-len(text) // 4)), "four characters a token"
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "language", "a tokenizer") from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        found = str(error).strip().partition("\n")[0]
        remedy = "Name a folder that holds one, or leave `tokenizer` out."
        raise UserError(f"tokenizer {name!r}", expected="a tokenizer", found=found, remedy=remedy) from error
    return (lambda text: len(tokenizer(text, truncation=False)["input_ids"])), f"the tokenizer {name}"


def _plain(value: Any) -> Any:
    """Return a model's answer without control characters."""
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return printable(value).strip() if isinstance(value, str) else value
