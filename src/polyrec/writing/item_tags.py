"""ItemTags: tags and a description of each item, written from its columns."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from polyrec.data.conditions.expressions import require_columns
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables, join
from polyrec.declaration.declaration import Declaration
from polyrec.writing.template import Subjects, Template
from polyrec.writing.writing import Writing, require_one_row

_CHAT: dict[str, Any] = {"url": "http://localhost:11434/v1", "model": "llama3.2"}
_TEMPLATE = "{{ title }} ({{ year }}). {{ genres }}"


class ItemTags(Writing):
    """Tags and a description in one sentence that a language model writes for each item.

    The input table has one row an item, or one row an interaction that repeats its item's columns. The template may not name a
    column whose value differs within an item, or a column that a label reads.
    """

    examples = (
        {"chat": _CHAT, "template": _TEMPLATE},
        {
            "chat": {**_CHAT, "key_variable": "OPENAI_API_KEY", "input_price": 0.15, "output_price": 0.6},
            "template": _TEMPLATE,
            "answer": {"mood": {"type": "string", "enum": ["dark", "light"]}},
            "cost_budget": 1.0,
            "labels": ["rating >= 4"],
        },
    )

    item: str = "item_id"
    """Column of the item's key."""
    instruction: str = (
        "You describe items for a recommender system. Write up to eight short tags (theme, style, mood, audience) and one "
        "sentence that says what the item is. Where you do not know an item, go by what its data says."
    )
    """Instruction to the model. It is the system message and contains no data from tables."""
    answer: dict[str, dict[str, JsonValue]] = Field(
        default={
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 40}, "maxItems": 8},
            "description": {"type": "string", "maxLength": 300},
        },
        min_length=1,
    )
    """Columns to write, each with the JSON Schema of its values: strings, numbers, booleans or lists of them."""

    def subjects(self, data: Source | Tables, recommender: Declaration | None) -> Subjects:
        frame = join(data, None, self.item).frame
        require_columns(frame, (self.item,), "the key of the items")
        template = Template(self.template, frame.columns, self.label_columns(recommender), self.max_characters)
        rows = require_one_row(frame.select(list(dict.fromkeys((self.item, *template.names)))), self.item)
        return Subjects(template, rows.select(template.names), rows.select(self.item))
