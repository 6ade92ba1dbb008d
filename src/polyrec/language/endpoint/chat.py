"""`Chat`: a language model that answers in JSON of a given schema, over a server that speaks OpenAI's protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, JsonValue

from polyrec.core.errors import UserError, missing_extra
from polyrec.language.endpoint.connection import Connection
from polyrec.language.endpoint.endpoint import Endpoint

Messages = Sequence[Mapping[str, str]]
"""What is sent: `{"role": …, "content": …}`, the system's first."""


@dataclass(frozen=True)
class Usage:
    """Tokens read and written, as the server counts them."""

    input: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output)

    @property
    def total(self) -> int:
        """Tokens in all."""
        return self.input + self.output


@dataclass(frozen=True)
class Reply:
    """What a model answered."""

    value: dict[str, Any] | None
    """The answer; None where none fitted the schema, even after the one repair."""
    usage: Usage
    """Tokens of all requests that it took."""
    problem: str = field(default="")
    """Why there is no answer."""


_LONGEST_REPAIR = 400
"""Bytes of the message that asks for a repair, at most."""


class Chat(Connection):
    """A model that is asked over `POST {url}/chat/completions` and answers with a JSON object of a given schema.

    The schema is sent as `response_format`, by which OpenAI, Ollama, vLLM and llama.cpp hold the model to it while it writes,
    and checked again here (JSON Schema, draft 2020-12): a server that ignores it is found out. An answer that does not fit is
    shown to the model once, with what is wrong, and then given up.
    """

    temperature: float | None = Field(default=0.0, ge=0)
    """Randomness of the words; unset, the server's own, for models that refuse another."""
    seed: int | None = 0
    """Seed of the words; the same request then gives the same answer, as far as the server keeps to it."""
    max_tokens: int = Field(default=300, gt=0)
    """Tokens that an answer may have: what one answer can cost at most."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server calls that limit: OpenAI's reasoning models know only `max_completion_tokens`."""
    input_price: float | None = Field(default=None, ge=0)
    """Price of a million tokens read, in any currency."""
    output_price: float | None = Field(default=None, ge=0)
    """Price of a million tokens written, in the same currency."""

    def identity(self) -> Mapping[str, JsonValue]:
        """Return everything that determines an answer besides the messages and their schema."""
        settings: dict[str, JsonValue] = {"temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens}
        return {"url": self.url, "model": self.model, **settings}

    def body(self, messages: Messages, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request, as the official client sends it."""
        answer = {"name": "answer", "strict": True, "schema": dict(schema)}
        body: dict[str, Any] = {
            "messages": [dict(message) for message in messages],
            "model": self.model,
            self.limit_name: self.max_tokens,
            "response_format": {"type": "json_schema", "json_schema": answer},
        }
        chosen = {"seed": self.seed, "temperature": self.temperature}
        return {**body, **{name: value for name, value in chosen.items() if value is not None}}

    def ask(self, endpoint: Endpoint, messages: Messages, schema: Mapping[str, Any]) -> Reply:
        """Return the answer to messages; raises `UserError` where the server fails to the end or answers no chat."""
        usage, problem, sent = Usage(), "", list(messages)
        for _ in range(2):
            content, used, finish = self._complete(endpoint, sent, schema)
            usage += used
            value, problem = read_answer(content, schema)
            if not problem:
                return Reply(value, usage)
            if finish == "length":
                return Reply(None, usage, f"cut off after {self.max_tokens} tokens: raise `max_tokens`")
            repair = f"Your answer does not fit: {problem}. Answer again, with JSON that fits the schema and nothing else."
            assert len(repair.encode()) <= _LONGEST_REPAIR
            sent = [*messages, {"role": "assistant", "content": content}, {"role": "user", "content": repair}]
        return Reply(None, usage, problem)

    def cost(self, usage: Usage) -> float | None:
        """Return what tokens cost; None where a price is not given."""
        if self.input_price is None or self.output_price is None:
            return None
        return (usage.input * self.input_price + usage.output * self.output_price) / 1e6

    def most(self, messages: Messages) -> Usage:
        """Return the tokens that one request can take at most.

        A token of a byte-level tokenizer has at least one byte, so a text has no more tokens than bytes; the marks that a
        server puts around each message are counted with 32 tokens.
        """
        return Usage(sum(len(message["content"].encode()) + 32 for message in messages), self.max_tokens)

    def most_with_repair(self, messages: Messages) -> Usage:
        """Return the tokens that `ask` can take at most: those of a request and of its repair."""
        first, repair = self.most(messages), 32 + 32 + _LONGEST_REPAIR + self.max_tokens
        return Usage(2 * first.input + repair, 2 * self.max_tokens)

    def _complete(self, endpoint: Endpoint, messages: Messages, schema: Mapping[str, Any]) -> tuple[str, Usage, str | None]:
        """Return content, tokens and reason to finish of one completion."""
        answer = endpoint.post("/chat/completions", self.body(messages, schema))
        try:
            choice = answer["choices"][0]
            content = choice["message"].get("content") or ""
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            remedy = "Check that the model chats."
            raise endpoint.problem("an answer with `choices`", f"{list(answer)}", remedy) from error
        told = answer.get("usage")
        counts = [told.get(name) if isinstance(told, dict) else None for name in ("prompt_tokens", "completion_tokens")]
        most = self.most(messages)
        known = [
            count if isinstance(count, int) and count >= 0 else limit
            for count, limit in zip(counts, (most.input, most.output), strict=True)
        ]
        return str(content), Usage(*known), choice.get("finish_reason")


def read_answer(content: str, schema: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the object that a text holds and nothing, or None and what is wrong with it.

    What is wrong is told in the schema's words alone: nothing of the answer is repeated.
    """
    try:
        import jsonschema
    except ImportError as error:
        raise missing_extra("jsonschema", "language", "a chat that answers in JSON") from error
    try:
        value = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None, "it is not JSON"
    misfit = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    if misfit is not None:
        where = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in misfit.schema_path if part != "properties"
        )
        return None, f"{where.lstrip('.')} must be {json.dumps(misfit.validator_value)}"[:200]
    assert isinstance(value, dict), "the schema is that of an object"
    return value, ""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise `UserError` for what is no JSON schema."""
    try:
        import jsonschema
    except ImportError as error:
        raise missing_extra("jsonschema", "language", "a chat that answers in JSON") from error
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        found = f"{error.message} at {error.json_path}"
        raise UserError("the answer's schema", expected="JSON Schema", found=found, remedy="Mend it.") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
