"""The schemas of requests and answers. Bodies are strict: no unknown keys, no numbers in place of texts, no NaN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, field_validator

from polyrec.rules.exclude import Exclude
from polyrec.rules.rule import Rule
from polyrec.serve.stores.records import Event, Key

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A name that is only looked up, never stored."""
Scalar = float | bool | Annotated[str, StringConstraints(max_length=4096)] | None
"""A value of a column."""

MOST_LEFT_OUT = 10_000
"""Largest number of items that the rules of one request may exclude by key."""


def _as_integer(value: object) -> object:
    """Return a float without a fraction as an integer: JSON has a single number type, so 3.0 equals 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_integers(value: object) -> object:
    if isinstance(value, list):
        return [_with_integers(child) for child in value]
    return {key: _with_integers(child) for key, child in value.items()} if isinstance(value, dict) else _as_integer(value)


Integer = Annotated[int, BeforeValidator(_as_integer)]
"""An integer, also written as 3.0."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RecommendRequest(_Body):
    """Request the best items for a user."""

    user: Key | None = None
    """Key of the user; unset if only `features` are known. Users not seen in training are allowed."""
    features: dict[Word, Scalar] = Field(default={}, max_length=64)
    """Columns of the user, or of the row itself (an hour, a device). They override the known values of the user."""
    k: Integer = Field(default=10, ge=1, le=100)
    """Number of items to return."""
    where: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    """SQL condition on the catalogue's columns."""
    weights: dict[Word, float] = Field(default={}, max_length=64)
    """Fusion weights for this request only."""
    rules: tuple[Rule, ...] = Field(default=(), max_length=16, strict=False)
    """Rules applied after those of the model; they may exclude at most 10,000 items by key."""
    exclude_seen: bool = True
    """Set `exclude_seen` if items in the user's history are to be excluded."""
    seed: Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(_as_integer)] | None = None
    """Seed that makes randomized lists repeatable; drawn at random if unset."""
    columns: tuple[Word, ...] = Field(default=(), max_length=32, strict=False)
    """Item columns to return."""

    @field_validator("rules", mode="before")
    @classmethod
    def _integers_in_rules(cls, value: object) -> object:
        return _with_integers(value)

    @field_validator("rules")
    @classmethod
    def _leave_out_some(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        left_out = sum(len(rule.items) for rule in rules if isinstance(rule, Exclude))
        if left_out > MOST_LEFT_OUT:
            raise ValueError(f"expected rules that exclude at most {MOST_LEFT_OUT:,} items by key, found {left_out:,}")
        return rules


class RecommendedItem(BaseModel):
    """An item of a list."""

    item: str
    """Its key."""
    score: float
    """The fused score."""
    tasks: dict[str, float]
    """Prediction by task, or by `task.class` for a task with several classes."""
    propensity: float
    """Probability of the item at this position given the items above it; 1 for a deterministic list."""
    columns: dict[str, Any]
    """The requested columns."""


class RecommendAnswer(BaseModel):
    """A list, the best first."""

    items: list[RecommendedItem]
    model: str
    """Version of the model that answered."""
    request: str
    """Identifier under which the list is logged."""
    fallback: list[str]
    """Fallbacks used: `unknown user`, `erased user`, `erasure not known`, `last known history`."""
    notes: list[str]
    """Rules that could not be fulfilled."""


class ScoreRequest(_Body):
    """Request the scores of given items."""

    user: Key | None = None
    """As in `RecommendRequest`."""
    features: dict[Word, Scalar] = Field(default={}, max_length=64)
    """As in `RecommendRequest`."""
    items: tuple[Key, ...] = Field(min_length=1, max_length=1000, strict=False)
    """Keys of the items."""
    weights: dict[Word, float] = Field(default={}, max_length=64)
    """As in `RecommendRequest`."""


class ScoreAnswer(BaseModel):
    """Scores in the order of the request."""

    items: list[RecommendedItem]
    model: str
    fallback: list[str]


class EventsRequest(_Body):
    """Record user events."""

    events: tuple[Event, ...] = Field(min_length=1, max_length=1000, strict=False)
    """One or more events; all are recorded or none."""


class EventsAnswer(BaseModel):
    """The outcome of recording events."""

    accepted: int
    """Number of durable events, including duplicates."""
    new: int | None
    """Number of events with a new id; none while the store is down."""
    journalled: bool
    """Whether the store is down and the events wait in the journal."""


class ItemsRequest(_Body):
    """Add items, or change columns of existing items."""

    items: tuple[dict[str, JsonValue], ...] = Field(min_length=1, max_length=1000, strict=False)
    """Key and columns of each item; omitted columns keep their values."""


class ItemsAnswer(BaseModel):
    """The outcome of changing items."""

    changed: int
    items: int
    """Size of the catalogue."""


class SimilarRequest(_Body):
    """Request the items most similar to an item."""

    item: Key
    k: Integer = Field(default=10, ge=1, le=100)
    columns: tuple[Word, ...] = Field(default=(), max_length=32, strict=False)
    """Item columns to return."""


class SimilarItem(BaseModel):
    """A similar item."""

    item: str
    cosine: float
    """Cosine of the two item vectors: of the Retrieval task if there is one, else of the item features."""
    columns: dict[str, Any]


class SimilarAnswer(BaseModel):
    """Items, the most similar first."""

    items: list[SimilarItem]
    model: str


class ExplainRequest(_Body):
    """Request an explanation of the predictions for a user and an item."""

    user: Key | None = None
    features: dict[Word, Scalar] = Field(default={}, max_length=64)
    item: Key


class ExplainedTask(BaseModel):
    """The contributions of the features to a task's prediction."""

    prediction: float
    """The prediction before calibration."""
    baseline: float
    """The prediction if all features are unknown."""
    contributions: dict[str, float]
    """Contribution by feature, the largest first. Their sum is prediction minus baseline, up to `gap`."""
    gap: float
    """Share of the difference that the contributions do not cover."""


class ExplainAnswer(BaseModel):
    """Explanations by task."""

    tasks: dict[str, ExplainedTask]
    model: str
    fallback: list[str]


class KnownEvent(BaseModel):
    """An event in a user's history."""

    item: str
    source: Literal["training", "live"]
    type: str | None
    time: float | None
    columns: dict[str, Any]
    """Known columns of the item and of the event."""


class UserAnswer(BaseModel):
    """The history of a user."""

    user: str
    known: bool
    """Whether the model saw the user in training."""
    erased: bool | None
    """Whether the user was erased; none if the store does not answer. The training history is withheld unless this is false."""
    history: list[KnownEvent]
    """The newest first."""


class UsersAnswer(BaseModel):
    """Users whose key begins with the given text."""

    users: list[str]


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str
    """Thing, expectation, finding and remedy: `thing: expected …, found …. Remedy.`"""
