"""UserProfiles: a profile of each user, written from their rows before a cut-off."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
from pydantic import Field, JsonValue, field_validator

from polyrec.core.errors import UserError
from polyrec.core.names import TIME_COLUMNS
from polyrec.data.conditions.expressions import meets, require_columns
from polyrec.data.read.sources import Source
from polyrec.data.splits import RandomSplit, Rows
from polyrec.data.tables import Tables, join
from polyrec.data.times import read_times
from polyrec.declaration.declaration import Declaration
from polyrec.writing.template import Subjects, Template
from polyrec.writing.writing import Writing, require_one_row

HISTORY = "history"
"""Name of the past rows in a template."""

READ_UNTIL = "read_until"
"""Column of the written table: the time of the last row that the profile is written from."""

_TIME = "__time"
_CHAT: dict[str, Any] = {"url": "http://localhost:11434/v1", "model": "llama3.2"}


class UserProfiles(Writing):
    """Descriptions of each user's tastes that a language model writes from the user's past, for encoders and people to read.

    A profile is written from rows strictly before a cut-off: the time `before`, or the training rows of a given recommender
    whose split is by time. One of the two is required, because a profile of the future leaks the labels. Labels of PAST rows,
    such as earlier ratings, are allowed in the columns of `history` and help most; elsewhere the template may name no label.
    A profile reveals the labels of the rows that it is written from. Train on rows after the cut-off (`read_until` is the last
    time read) or leave labels out of `history`; otherwise the model learns to look up answers that new rows do not have.
    """

    examples = (
        {"chat": _CHAT, "history": ["title", "genres"], "before": 889237269},
        {
            "chat": _CHAT,
            "history": ["title", "rating"],
            "before": "1998-03-01",
            "where": "rating >= 4",
            "length": 10,
            "template": "Age {{ age }}.\n{% for row in history %}{{ row.title }}\n{% endfor %}",
        },
    )

    user: str = "user_id"
    """Column of the user's key."""
    item: str | None = None
    """Column of the item's key, on which an item table is joined."""
    time: str | None = None
    """Column of the time of a row; unset, `timestamp` or `time`."""
    before: int | float | str | None = None
    """Cut-off: rows at this time or later are never read. A number or a time in ISO 8601, like the time column."""
    history: tuple[str, ...] = Field(min_length=1)
    """Columns shown of each past row; a label's column is shown only if it is listed here."""
    where: str | None = None
    """SQL condition on the past rows that are shown; it may read labels, because these rows are past."""
    length: int = Field(default=20, gt=0)
    """Number of past rows shown of a user, the latest ones."""
    template: str = "{% for row in history %}{% for name in row %}{{ name }}: {{ row[name] }}. {% endfor %}\n{% endfor %}"
    """Jinja template of the data that the model sees. `history` is a list of past rows, the earliest first; a column that has
    the same value in all rows of a user may also be named outside of `history`."""
    instruction: str = (
        "You write profiles of users for a recommender system, from what they did. In up to three sentences, say what the user "
        "likes and avoids, in general words (themes, styles, moods) that hold for items not named here."
    )
    """Instruction to the model. It is the system message and contains no data from tables."""
    answer: dict[str, dict[str, JsonValue]] = Field(default={"profile": {"type": "string", "maxLength": 600}}, min_length=1)
    """Columns to write, each with the JSON Schema of its values: strings, numbers, booleans or lists of them."""

    @field_validator("before", mode="before")
    @classmethod
    def _read_date(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value

    def subjects(self, data: Source | Tables, recommender: Declaration | None) -> Subjects:
        frame = join(data, self.user, self.item).frame
        require_columns(frame, (self.user, *self.history), "the profiles of users")
        labels = self.label_columns(recommender)
        template = Template(self.template, [*frame.columns, HISTORY], labels, self.max_characters)
        columns = [name for name in template.names if name != HISTORY]
        past = self._past(frame, recommender)
        if past.height == 0:
            remedy = "Choose a later `before`, or check `where`."
            raise UserError("the profiles of users", expected="rows before the cut-off", found="none", remedy=remedy)
        rows = require_one_row(past.select(list(dict.fromkeys((self.user, *columns)))), self.user)
        shown = past.group_by(self.user, maintain_order=True).agg(
            pl.struct(self.history).tail(self.length).alias(HISTORY), pl.col(self._time(frame)).last().alias(READ_UNTIL)
        )
        joined = rows.join(shown, on=self.user, how="left", maintain_order="left")
        return Subjects(template, joined.select(template.names), joined.select(self.user, READ_UNTIL))

    def _time(self, frame: pl.DataFrame) -> str:
        time = self.time or next((name for name in TIME_COLUMNS if name in frame.columns), None)
        if time is None:
            remedy = "Name the column of the time in `time`."
            raise UserError("the profiles of users", expected="a time column", found="none", remedy=remedy)
        require_columns(frame, (time,), "the time of a row")
        return time

    def _past(self, frame: pl.DataFrame, recommender: Declaration | None) -> pl.DataFrame:
        """Return the rows before the cut-off that `where` keeps, sorted by user and time."""
        times, clock = read_times(frame[self._time(frame)])
        keep = pl.repeat(True, frame.height, eager=True)
        split = None if recommender is None else recommender.training.split
        if self.before is None and (recommender is None or split is None or isinstance(split, RandomSplit)):
            found = "none" if split is None else f"{split!r}, which holds out rows at any time"
            remedy = "Set `before`, or pass a recommender whose `training.split` is a TimeSplit or a LastSplit."
            raise UserError("the profiles of users", expected="a cut-off in time", found=found, remedy=remedy)
        if self.before is not None:
            keep &= times < read_times(pl.Series("before", [self.before]), clock)[0][0]
        if recommender is not None and split is not None and not isinstance(split, RandomSplit):
            keep &= ~split.held_out(Rows(frame.height, frame[self.user], times), recommender.training.seed)
        if self.where is not None:
            keep &= meets(frame, self.where, "`where` of the profiles")
        return frame.with_columns(times.alias(_TIME)).filter(keep).sort(self.user, _TIME, maintain_order=True)
