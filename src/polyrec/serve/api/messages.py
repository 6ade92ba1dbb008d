"""What requests and answers hold. Bodies are strict: no unknown key, no number for a text, no NaN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, field_validator

from polyrec.rules.exclude import Exclude
from polyrec.rules.rule import Rule
from polyrec.serve.stores.records import Event, Key

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A name that is looked up and kept nowhere."""
Scalar = float | bool | Annotated[str, StringConstraints(max_length=4096)] | None
"""A value of a column."""

MOST_LEFT_OUT = 10_000
"""Items that the rules of one request leave out by key, at most."""


def _whole(value: object) -> object:
    """JSON knows one kind of number: 3.0 is the whole number 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _all_whole(value: object) -> object:
    if isinstance(value, list):
        return [_all_whole(one) for one in value]
    return {key: _all_whole(one) for key, one in value.items()} if isinstance(value, dict) else _whole(value)


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RecommendRequest(_Body):
    """Ask for the best items for someone."""

    user: Key | None = None
    """Key of the user; unset for one of whom only `features` are known. A user who was never met is answered too."""
    features: dict[Word, Scalar] = Field(default={}, max_length=64)
    """Columns of the user's side, or of the row itself (an hour, a device). They replace what is known of the user."""
    k: Whole = Field(default=10, ge=1, le=100)
    """Items wanted."""
    where: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    """SQL condition on the catalogue's columns."""
    weights: dict[Word, float] = Field(default={}, max_length=64)
    """Weights of the fusion for this request alone."""
    rules: tuple[Rule, ...] = Field(default=(), max_length=16, strict=False)
    """Rules after those that the model declares; they leave out 10,000 items by key at most."""
    exclude_seen: bool = True
    """Whether items that the user met are left out."""
    seed: Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(_whole)] | None = None
    """Makes a list of chance repeatable; unset, drawn anew."""
    columns: tuple[Word, ...] = Field(default=(), max_length=32, strict=False)
    """Columns of the items to be told."""

    @field_validator("rules", mode="before")
    @classmethod
    def _whole_in_rules(cls, value: object) -> object:
        return _all_whole(value)

    @field_validator("rules")
    @classmethod
    def _leave_out_some(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        left_out = sum(len(rule.items) for rule in rules if isinstance(rule, Exclude))
        if left_out > MOST_LEFT_OUT:
            raise ValueError(f"rules of a request leave out {MOST_LEFT_OUT:,} items at most, these {left_out:,}")
        return rules


class RecommendedItem(BaseModel):
    """An item of a list."""

    item: str
    """Its key."""
    score: float
    """The fused score."""
    tasks: dict[str, float]
    """Each task's prediction; `task.class` for a task of several classes."""
    propensity: float
    """Probability of the item to stand here given those above it: 1 where nothing was left to chance."""
    columns: dict[str, Any]
    """The columns that were asked for."""


class RecommendAnswer(BaseModel):
    """A list, the best first."""

    items: list[RecommendedItem]
    model: str
    """Version of the model that answered."""
    request: str
    """Under which the list is logged."""
    fallback: list[str]
    """What stood in for something else: `unknown user`, `erased user`, `erasure not known`, `last known history`."""
    notes: list[str]
    """What rules could not do."""


class ScoreRequest(_Body):
    """Ask for the scores of some items."""

    user: Key | None = None
    """As in a request for the best."""
    features: dict[Word, Scalar] = Field(default={}, max_length=64)
    """As in a request for the best."""
    items: tuple[Key, ...] = Field(min_length=1, max_length=1000, strict=False)
    """Keys of the items."""
    weights: dict[Word, float] = Field(default={}, max_length=64)
    """As in a request for the best."""


class ScoreAnswer(BaseModel):
    """Scores in the order asked for."""

    items: list[RecommendedItem]
    model: str
    fallback: list[str]


class EventsRequest(_Body):
    """Tell what users did."""

    events: tuple[Event, ...] = Field(min_length=1, max_length=1000, strict=False)
    """One or several; all are taken or none."""


class EventsAnswer(BaseModel):
    """What became of events."""

    accepted: int
    """Events that are safe now, repeats among them."""
    new: int | None
    """Events whose id was not there yet; none while the store is down."""
    journalled: bool
    """Whether the store is down and they wait in the journal."""


class ItemsRequest(_Body):
    """Add items, or change what is known of some."""

    items: tuple[dict[str, JsonValue], ...] = Field(min_length=1, max_length=1000, strict=False)
    """The item's key and columns each; columns left out stay as they were."""


class ItemsAnswer(BaseModel):
    """What became of items."""

    changed: int
    items: int
    """Size of the catalogue."""


class SimilarRequest(_Body):
    """Ask for items like one."""

    item: Key
    k: Whole = Field(default=10, ge=1, le=100)
    columns: tuple[Word, ...] = Field(default=(), max_length=32, strict=False)
    """Columns of the items to be told."""


class SimilarItem(BaseModel):
    """An item like another."""

    item: str
    cosine: float
    """Of the two vectors: those of a Retrieval task where there is one, else those of the item's features."""
    columns: dict[str, Any]


class SimilarAnswer(BaseModel):
    """Items, the likest first."""

    items: list[SimilarItem]
    model: str


class ExplainRequest(_Body):
    """Ask what a score is made of."""

    user: Key | None = None
    features: dict[Word, Scalar] = Field(default={}, max_length=64)
    item: Key


class ExplainedTask(BaseModel):
    """What a task's prediction is made of."""

    prediction: float
    """Before calibration."""
    baseline: float
    """The prediction where nothing is known."""
    contributions: dict[str, float]
    """What each feature adds, the largest first; they sum up to prediction minus baseline, but for `gap`."""
    gap: float
    """Share of the difference that the contributions miss."""


class ExplainAnswer(BaseModel):
    """By task."""

    tasks: dict[str, ExplainedTask]
    model: str
    fallback: list[str]


class KnownEvent(BaseModel):
    """Something that a user did."""

    item: str
    source: Literal["training", "live"]
    type: str | None
    time: float | None
    columns: dict[str, Any]
    """What is known of the item and of the event."""


class UserAnswer(BaseModel):
    """What is known of a user."""

    user: str
    known: bool
    """Whether the model has met the user."""
    erased: bool | None
    """None where the store, which knows, does not answer; what the training knows of the user is not told then."""
    history: list[KnownEvent]
    """The newest first."""


class UsersAnswer(BaseModel):
    """Users whose key begins so."""

    users: list[str]


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str
    """One sentence: what it was about, what was expected, what was found and what to do."""
