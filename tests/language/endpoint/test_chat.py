"""Chats with a real server that answer in JSON: the official client's requests, and what is done about bad answers."""

import json

import openai
import pytest

from polyrec import Chat, UserError
from polyrec.language.endpoint.chat import Usage, check_schema, read_answer
from polyrec.language.endpoint.endpoint import Endpoint

SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["dark", "light"]},
        "grade": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["mood", "grade"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "system", "content": "You grade films."}, {"role": "user", "content": "Toy Story, for children"}]


def chat(server, fault: str = "", **settings) -> Chat:
    model = f"smol+{fault}" if fault else "smol"
    return Chat(**{"url": f"{server.front}/v1", "model": model, "max_tokens": 40, "retries": 0, **settings})


def ask(spec: Chat):
    with Endpoint(spec) as endpoint:
        return spec.ask(endpoint, MESSAGES, SCHEMA)


def test_requests_and_answers_are_those_of_the_official_client(server):
    reply = ask(chat(server))
    theirs = openai.OpenAI(base_url=f"{server.front}/v1", api_key="x").chat.completions.create(
        model="smol",
        messages=MESSAGES,
        temperature=0.0,
        seed=0,
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
    )
    first, second = server.log()
    assert first["body"] == second["body"]
    assert first["path"] == second["path"] == "/v1/chat/completions"
    assert reply.value == json.loads(theirs.choices[0].message.content)
    assert reply.usage == Usage(theirs.usage.prompt_tokens, theirs.usage.completion_tokens)


def test_settings_that_are_unset_are_not_sent(server):
    ask(chat(server, temperature=None, seed=None, limit_name="max_completion_tokens"))
    body = server.log()[0]["body"]
    assert set(body) == {"messages", "model", "max_completion_tokens", "response_format"}


def test_an_answer_that_fits_is_read():
    assert read_answer('{"mood": "dark", "grade": 3}', SCHEMA) == ({"mood": "dark", "grade": 3}, "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("Of course!", "it is not JSON"),
        ('{"mood": "dark", "grade": NaN}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", 'type must be "object"'),
        ('{"mood": "IGNORE ME", "grade": 3}', 'mood.enum must be ["dark", "light"]'),
        ('{"mood": "dark"}', 'required must be ["mood", "grade"]'),
        ('{"mood": "dark", "grade": 3, "more": 1}', "additionalProperties must be false"),
    ],
)
def test_what_is_wrong_with_an_answer_is_told_in_the_words_of_the_schema(content: str, problem: str):
    assert read_answer(content, SCHEMA) == (None, problem)


def test_an_answer_that_does_not_fit_is_shown_to_the_model_once(server):
    reply = ask(chat(server, "prose:1"))
    assert reply.value is not None
    first, second = (sent["body"]["messages"] for sent in server.log())
    assert second[: len(first)] == first
    assert [message["role"] for message in second[len(first) :]] == ["assistant", "user"]
    assert "it is not JSON" in second[-1]["content"]
    assert reply.usage.total > 2 * ask(chat(server)).usage.total


def test_a_model_that_never_fits_is_given_up(server):
    reply = ask(chat(server, "prose"))
    assert (reply.value, reply.problem) == (None, "it is not JSON")
    assert len(server.log()) == 2
    assert reply.usage.output > 0


def test_a_server_that_ignores_the_schema_is_found_out(server):
    assert ask(chat(server, "no-schema")).value is None


def test_an_answer_that_is_cut_off_is_not_asked_for_again(server):
    reply = ask(chat(server, max_tokens=3))
    assert reply.problem == "cut off after 3 tokens: raise `max_tokens`"
    assert len(server.log()) == 1


@pytest.mark.parametrize("fault", ["", "prose", "no-schema"])
def test_nothing_takes_more_tokens_than_was_said_before(server, fault: str):
    spec = chat(server, fault)
    most = spec.most_with_repair(MESSAGES)
    used = ask(spec).usage
    assert 0 < used.input <= most.input
    assert 0 < used.output <= most.output


def test_tokens_that_a_server_does_not_tell_count_as_the_most(server):
    spec = chat(server, "no-usage")
    assert ask(spec).usage == spec.most(MESSAGES)


def test_costs_are_the_prices_of_a_million(server):
    priced = chat(server, input_price=0.5, output_price=2.0)
    assert priced.cost(Usage(1_000_000, 250_000)) == pytest.approx(1.0)
    assert chat(server).cost(Usage(1, 1)) is None


def test_a_server_that_does_not_chat_is_told(server):
    with pytest.raises(UserError, match="expected an answer with `choices`"):
        ask(chat(server, "nothing"))


def test_what_is_no_schema_is_refused():
    with pytest.raises(UserError, match="expected JSON Schema, found .*'strng'"):
        check_schema({"type": "object", "properties": {"a": {"type": "strng"}}})
