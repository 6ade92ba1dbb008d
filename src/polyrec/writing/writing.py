"""`Writing`: texts that a language model writes about users or items: from which columns, and within which budget."""

from __future__ import annotations

from typing import Any, Self

import polars as pl
from pydantic import Field, JsonValue, model_validator

from polyrec.core.errors import UserError
from polyrec.core.spec import Family
from polyrec.data.conditions.expressions import columns_of
from polyrec.data.labels import label_columns
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.declaration.declaration import Declaration
from polyrec.language.endpoint.chat import Chat
from polyrec.writing.budget import Budget
from polyrec.writing.run import Estimate, Plan, Written, estimate, write
from polyrec.writing.template import Subjects

_TYPES: dict[str, pl.DataType] = {"string": pl.String(), "integer": pl.Int64(), "number": pl.Float64(), "boolean": pl.Boolean()}


class Writing(Family, family="writings"):
    """Texts that a chat model writes once into a table, which joins the other tables by its key.

    Every column value is cleaned, truncated and fenced as data (`clean`); the system message is the same for all rows. A
    journal keeps each answer by a hash of all that it depends on: a second run sends nothing, a stopped one continues.
    """

    chat: Chat
    """The model, its server and its prices."""
    template: str
    """Jinja template of the data that the model sees, with columns in double braces: `{{ title }} ({{ year }})`."""
    instruction: str
    """Instruction to the model. It is the system message and contains no data from tables."""
    answer: dict[str, dict[str, JsonValue]] = Field(min_length=1)
    """Columns to write, each with the JSON Schema of its values: strings, numbers, booleans or lists of them."""
    labels: tuple[str, ...] = ()
    """Labels of the tasks, as columns or SQL expressions; the template may not name a column that they read. The labels of a
    given recommender are added."""
    max_characters: int = Field(default=300, gt=0)
    """Maximum number of characters of a value; the rest is cut off."""
    token_budget: int | None = Field(default=None, gt=0)
    """Maximum number of tokens of one run, input and output together, as counted by the server; unset, no limit. Tokens that a
    server bills for a request without an answer are not counted."""
    cost_budget: float | None = Field(default=None, gt=0)
    """Maximum cost of one run, in the currency of the chat's prices; unset, no limit."""
    tokenizer: str | None = None
    """Folder or name of the tokenizer that counts an estimate's tokens; unset, four characters count as one token."""

    @model_validator(mode="after")
    def _check_answer(self) -> Self:
        for name, schema in self.answer.items():
            inner = schema.get("items") if schema.get("type") == "array" else schema
            if not isinstance(inner, dict) or inner.get("type") not in _TYPES:
                raise ValueError(f"answer {name!r} needs a 'type' of {', '.join(_TYPES)}, or 'array' with 'items' of one")
        priced = self.chat.input_price is not None and self.chat.output_price is not None
        if self.cost_budget is not None and not priced:
            raise ValueError("`cost_budget` needs `input_price` and `output_price` of the chat")
        return self

    def schema_of_answers(self) -> dict[str, Any]:
        """Return the JSON Schema of one answer: an object with exactly the columns of `answer`."""
        required = list(self.answer)
        return {"type": "object", "properties": dict(self.answer), "required": required, "additionalProperties": False}

    def types(self) -> dict[str, pl.DataType]:
        """Return the type of each written column."""
        types: dict[str, pl.DataType] = {}
        for name, schema in self.answer.items():
            inner = schema["items"] if schema["type"] == "array" else schema
            assert isinstance(inner, dict)
            kind = _TYPES[str(inner["type"])]
            types[name] = pl.List(kind) if schema["type"] == "array" else kind
        return types

    def label_columns(self, recommender: Declaration | None) -> frozenset[str]:
        """Return the columns that labels read."""
        declared = [columns_of(label, "`labels`") for label in self.labels]
        of_tasks = [label_columns(task) for task in recommender.tasks] if recommender is not None else []
        return frozenset(column for columns in (*declared, *of_tasks) for column in columns)

    def subjects(self, data: Source | Tables, recommender: Declaration | None) -> Subjects:
        """Read the users or items to write about, and check the template against their columns."""
        raise NotImplementedError

    def write(self, data: Source | Tables, recommender: Declaration | None = None, *, progress: bool = True) -> Written:
        """Request the answers that the journal lacks, and return the table.

        Raises `UserError` if the data does not fit, or if the server fails after all retries; answers until then are kept.
        """
        return write(self._plan(data, recommender), Budget(self.chat, self.token_budget, self.cost_budget), progress)

    def estimate(self, data: Source | Tables, recommender: Declaration | None = None) -> Estimate:
        """Return what `write` would send and cost, without sending anything."""
        return estimate(self._plan(data, recommender), self.tokenizer)

    def _plan(self, data: Source | Tables, recommender: Declaration | None) -> Plan:
        subjects = self.subjects(data, recommender)
        return Plan(self.chat, self.instruction, self.schema_of_answers(), self.types(), subjects)


def require_one_row(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return distinct rows without null keys; raises `UserError` if a column has several values for a key."""
    rows = frame.drop_nulls(key).unique(maintain_order=True)
    doubled = rows.filter(pl.col(key).is_duplicated())
    if doubled.height:
        first = doubled.filter(pl.col(key) == doubled[key][0])
        name = next(column for column in frame.columns if first[column].n_unique() > 1)
        raise UserError(
            f"column {name!r} in the template",
            expected=f"one value for each {key!r}",
            found=f"several for {doubled[key][0]!r}",
            remedy="Name columns that depend on the key alone, or pass a table with one row a key.",
        )
    return rows
