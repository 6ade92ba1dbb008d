"""`Writing`: what a language model is to write, of whom, from which columns, and for how much at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import polars as pl
from pydantic import Field, JsonValue, model_validator

from polyrec.core.errors import UserError
from polyrec.core.spec import Family
from polyrec.data.conditions.expressions import columns_of
from polyrec.data.labels import label_columns
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.language.endpoint.chat import Chat
from polyrec.writing.declaration import Declaration
from polyrec.writing.template import Template

if TYPE_CHECKING:
    from polyrec.writing.run import Estimate, Written

_TYPES: dict[str, pl.DataType] = {"string": pl.String(), "integer": pl.Int64(), "number": pl.Float64(), "boolean": pl.Boolean()}


@dataclass(frozen=True)
class Subjects:
    """Those that something is written of, one row each."""

    template: Template
    frame: pl.DataFrame
    """What the template names; past rows as a list of structs."""
    kept: pl.DataFrame
    """The columns that the written table starts with, the key first."""

    def data(self, row: int) -> str:
        """Return the filled template of a row; empty where nothing is known that it names."""
        values = self.frame.row(row, named=True)
        return self.template.render(values) if any(value not in (None, "", []) for value in values.values()) else ""


class Writing(Family, family="writings"):
    """Texts that a chat model writes, once, into a table that joins the others by its key.

    Every value of a column is cleaned, capped and fenced as data (`clean`); the system's message is the same for all. What was
    answered is kept in a journal under everything that it depends on: a second run sends nothing, a stopped one goes on.
    """

    chat: Chat
    """The model, its server and its prices."""
    template: str
    """Jinja template of the data that the model sees, columns in double braces: `{{ title }} ({{ year }})`."""
    instruction: str
    """What to write. It is the system's message; nothing from a table enters it."""
    answer: dict[str, dict[str, JsonValue]] = Field(min_length=1)
    """Columns to write, each with the JSON Schema of its values: strings, numbers, booleans or lists of them."""
    labels: tuple[str, ...] = ()
    """Labels of the tasks, as columns or SQL expressions: the template may not name a column that they read. Those of a
    recommender are added where one is given."""
    max_characters: int = Field(default=300, gt=0)
    """Characters kept of a value."""
    token_budget: int | None = Field(default=None, gt=0)
    """Tokens that one run may take, read and written together, as the server counts them in its answers; unset, no limit. What
    a server may bill for a request whose answer never came is not seen."""
    cost_budget: float | None = Field(default=None, gt=0)
    """What one run may cost, in the currency of the chat's prices; unset, no limit."""
    tokenizer: str | None = None
    """Folder or name of a tokenizer to count an estimate's tokens with; unset, four characters count as one token."""

    @model_validator(mode="after")
    def _check_answer(self) -> Self:
        for name, schema in self.answer.items():
            inner = schema.get("items") if schema.get("type") == "array" else schema
            if not isinstance(inner, dict) or inner.get("type") not in _TYPES:
                raise ValueError(f"answer {name!r} needs a 'type' of {', '.join(_TYPES)}, or 'array' with such 'items'")
        priced = self.chat.input_price is not None and self.chat.output_price is not None
        if self.cost_budget is not None and not priced:
            raise ValueError("`cost_budget` needs `input_price` and `output_price` of the chat")
        return self

    def schema_of_answers(self) -> dict[str, Any]:
        """Return the JSON Schema of one answer: an object that holds every column and nothing else."""
        required = list(self.answer)
        return {"type": "object", "properties": dict(self.answer), "required": required, "additionalProperties": False}

    def types(self) -> dict[str, pl.DataType]:
        """Return the type of each column that is written."""
        types: dict[str, pl.DataType] = {}
        for name, schema in self.answer.items():
            inner = schema["items"] if schema["type"] == "array" else schema
            assert isinstance(inner, dict)
            kind = _TYPES[str(inner["type"])]
            types[name] = pl.List(kind) if schema["type"] == "array" else kind
        return types

    def label_columns(self, recommender: Declaration | None) -> frozenset[str]:
        """Return the columns that labels read."""
        own = [columns_of(label, "`labels`") for label in self.labels]
        theirs = [label_columns(task) for task in recommender.tasks] if recommender is not None else []
        return frozenset(column for columns in (*own, *theirs) for column in columns)

    def subjects(self, data: Source | Tables, recommender: Declaration | None) -> Subjects:
        """Read those that something is written of, and check the template against what is known of them."""
        raise NotImplementedError

    def write(self, data: Source | Tables, recommender: Declaration | None = None, *, progress: bool = True) -> Written:
        """Ask for what the journal does not hold yet, and return the table.

        Raises `UserError` where the data does not fit, and where the server fails to the end; answers until then are kept.
        """
        from polyrec.writing.run import write

        return write(self, data, recommender, progress)

    def estimate(self, data: Source | Tables, recommender: Declaration | None = None) -> Estimate:
        """Return what `write` would send and cost, without sending anything."""
        from polyrec.writing.run import estimate

        return estimate(self, data, recommender)


def require_one_row(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return distinct rows without null keys; raises `UserError` where a column differs within a key."""
    rows = frame.drop_nulls(key).unique(maintain_order=True)
    doubled = rows.filter(pl.col(key).is_duplicated())
    if doubled.height:
        first = doubled.filter(pl.col(key) == doubled[key][0])
        name = next(column for column in frame.columns if first[column].n_unique() > 1)
        raise UserError(
            f"column {name!r} in the template",
            expected=f"one value for each {key!r}",
            found=f"several for {doubled[key][0]!r}",
            remedy="Name columns of the key itself, or give a table with one row a key.",
        )
    return rows
