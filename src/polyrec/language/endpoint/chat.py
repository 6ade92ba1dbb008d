"""`Chat`: a language model that answers in JSON of a given schema, on a server with OpenAI's protocol."""

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
"""Messages of a request, `{"role": …, "content": …}` each, the system message first."""


@dataclass(frozen=True)
class Usage:
    """Number of input and output tokens, as counted by the server."""

    input: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output)

    @property
    def total(self) -> int:
        """Number of input and output tokens together."""
        return self.input + self.output


@dataclass(frozen=True)
class Reply:
    """A model's answer, or why there is none."""

    value: dict[str, Any] | None
    """The answer; None if it does not fit the schema, even after one repair."""
    usage: Usage
    """Tokens of the request and of its repair."""
    problem: str = field(default="")
    """Why there is no answer."""


_LONGEST_REPAIR = 400
"""Maximum number of bytes of the message that requests a repair."""


class Chat(Connection):
    """A model that answers `POST {url}/chat/completions` with a JSON object of a given schema.

    The schema is sent as `response_format`, with which OpenAI, Ollama, vLLM and llama.cpp constrain the decoding. The answer is
    validated again here (JSON Schema, draft 2020-12), because a server may ignore the schema. An answer that does not fit is
    returned to the model once with the reason; if the second answer does not fit either, there is none.
    """

    temperature: float | None = Field(default=0.0, ge=0)
    """Sampling temperature; unset, the server's default, for models that accept no other."""
    seed: int | None = 0
    """Sampling seed; the same request then gives the same answer if the server supports seeds."""
    max_tokens: int = Field(default=300, gt=0)
    """Maximum number of tokens of an answer, which also bounds its cost."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of this limit in a request: OpenAI's reasoning models accept only `max_completion_tokens`."""
    input_price: float | None = Field(default=None, ge=0)
    """Price of a million input tokens, in any currency."""
    output_price: float | None = Field(default=None, ge=0)
    """Price of a million output tokens, in the same currency."""

    def identity(self) -> Mapping[str, JsonValue]:
        """Return everything that determines an answer apart from the messages and the schema."""
        settings: dict[str, JsonValue] = {"temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens}
        return {"url": self.url, "model": self.model, **settings}

    def body(self, messages: Messages, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a request in the form of OpenAI's client."""
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
        """Return the answer to messages; raises `UserError` if all retries fail or the server does not answer as a chat."""
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
        """Return the cost of tokens; None if a price is unset."""
        if self.input_price is None or self.output_price is None:
            return None
        return (usage.input * self.input_price + usage.output * self.output_price) / 1e6

    def most(self, messages: Messages) -> Usage:
        """Return an upper bound on the tokens of one request.

        A token of a byte-level tokenizer has at least one byte, so a text has no more tokens than bytes; the special tokens
        that a server adds to each message count as 32 tokens.
        """
        return Usage(sum(len(message["content"].encode()) + 32 for message in messages), self.max_tokens)

    def most_with_repair(self, messages: Messages) -> Usage:
        """Return an upper bound on the tokens of `ask`: those of a request and of its repair."""
        first, repair = self.most(messages), 32 + 32 + _LONGEST_REPAIR + self.max_tokens
        return Usage(2 * first.input + repair, 2 * self.max_tokens)

    def _complete(self, endpoint: Endpoint, messages: Messages, schema: Mapping[str, Any]) -> tuple[str, Usage, str | None]:
        """Return the content, the tokens and the finish reason of one completion."""
        answer = endpoint.post("/chat/completions", self.body(messages, schema))
        try:
            choice = answer["choices"][0]
            content = choice["message"].get("content") or ""
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            remedy = "Check that the model chats."
            raise endpoint.problem("an answer with `choices`", f"{list(answer)}", remedy) from error
        usage = answer.get("usage")
        counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
        most = self.most(messages)
        tokens = [
            count if isinstance(count, int) and count >= 0 else limit
            for count, limit in zip(counts, (most.input, most.output), strict=True)
        ]
        return str(content), Usage(*tokens), choice.get("finish_reason")


def read_answer(content: str, schema: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Parse an answer; return the object and an empty text, or None and the reason why it does not fit the schema.

    The reason quotes the schema only, never the answer.
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
    """Raise `UserError` if `schema` is not a valid JSON Schema."""
    try:
        import jsonschema
    except ImportError as error:
        raise missing_extra("jsonschema", "language", "a chat that answers in JSON") from error
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        found = f"{error.message} at {error.json_path}"
        raise UserError("the answer's schema", expected="JSON Schema", found=found, remedy="Fix it.") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
