"""The `anthropic` SDK in front of an upstream whose every word is known."""

import asyncio

import anthropic
import pytest

from clients import ANTHROPIC_TOOL, Wire, anthropic_client, user
from conftest import KEY
from scripted import INPUT_TOKENS, OUTPUT_TOKENS, TEXT

MODELS = ["claude-opus-4-6", "smart-anthropic"]
ARGUMENTS = {"city": "Zürich"}
TOOL_CALL = {"pieces": [], "tool_calls": [{"id": "toolu_tk_0", "name": "get_weather", "arguments": ARGUMENTS}]}


@pytest.fixture
def client(gateway):
    return anthropic_client(gateway.url, KEY)


@pytest.mark.parametrize("model", MODELS)
def test_answer(client, model):
    answer = client.messages.create(model=model, max_tokens=100, messages=user("hi"))
    assert (answer.content[0].text, answer.stop_reason) == (TEXT, "end_turn")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


@pytest.mark.parametrize("model", MODELS)
def test_stream(client, model):
    with client.messages.stream(model=model, max_tokens=100, messages=user("hi")) as stream:
        assert "".join(stream.text_stream) == TEXT
        final = stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", OUTPUT_TOKENS)


def test_raw_events_come_in_the_order_of_the_format(client):
    events = [event.type for event in client.messages.create(model="claude-opus-4-6", max_tokens=9, messages=user("hi"), stream=True)]
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events.count("message_start") == 1


def test_tool_call(client, upstream):
    upstream.answer(**TOOL_CALL)
    ask = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": user("weather?"), "tools": [ANTHROPIC_TOOL]}
    answer = client.messages.create(**ask)
    assert (answer.stop_reason, answer.content[0].name, answer.content[0].input) == ("tool_use", "get_weather", ARGUMENTS)
    with client.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    assert (final.content[0].id, final.content[0].input) == ("toolu_tk_0", ARGUMENTS)


def test_thinking_keeps_its_signature(client, upstream):
    upstream.answer(pieces=["42"], thinking="Let me think.")
    with client.messages.stream(model="claude-opus-4-6", max_tokens=100, messages=user("hi")) as stream:
        thinking, text = stream.get_final_message().content
    assert (thinking.thinking, thinking.signature) == ("Let me think.", "ErUBCkYIARgCIkD+scripted/tk==")
    assert text.text == "42"


@pytest.mark.parametrize("model", MODELS)
def test_count_tokens(client, model):
    assert client.messages.count_tokens(model=model, messages=user("hi")).input_tokens == INPUT_TOKENS


def test_async_client(gateway):
    async def ask():
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
            return await client.messages.create(model="claude-opus-4-6", max_tokens=100, messages=user("hi"))

    assert asyncio.run(ask()).content[0].text == TEXT


def test_bearer_token_instead_of_a_key(gateway_process, upstream):
    client = anthropic_client(gateway_process.url, None, auth_token=KEY)
    assert client.messages.create(model="smart-anthropic", max_tokens=9, messages=user("hi")).content[0].text == TEXT
    # Our key is not the upstream's business, whatever header it came in.
    assert upstream.only_call().headers.get("authorization") is None


def test_models(gateway_process):
    models = list(anthropic_client(gateway_process.url, KEY).models.list())
    assert {"smart-anthropic", "smart-openai"} <= {model.id for model in models}
    assert {model.type for model in models} == {"model"}


def test_one_model(gateway_process):
    client = anthropic_client(gateway_process.url, KEY)
    assert client.models.retrieve("smart-anthropic").id == "smart-anthropic"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("no-such-model")


def test_version_and_beta_reach_the_upstream(gateway_process, upstream):
    client = anthropic_client(gateway_process.url, KEY)
    client.beta.messages.create(
        model="claude-opus-4-6", max_tokens=9, messages=user("hi"), betas=["context-1m-2025-08-07", "made-up-2026-01-01"]
    )
    call = upstream.only_call()
    assert call.headers["anthropic-version"]
    assert call.headers["anthropic-beta"].replace(" ", "").split(",") == ["context-1m-2025-08-07", "made-up-2026-01-01"]


def test_every_kind_of_input_token_has_its_price(gateway_process, upstream):
    upstream.answer(usage={"input": 100, "cache_read": 200, "cache_write_5m": 50, "cache_write_1h": 30, "output": 40})
    wire = Wire()
    client = anthropic_client(gateway_process.url, KEY, wire)
    client.messages.create(model="smart-anthropic", max_tokens=100, messages=user("hi"))
    # 100 × 0.001 + 200 × 0.0001 + 50 × 0.00125 + 30 × 0.0016 + 40 × 0.002
    assert float(wire.headers[0]["x-tollgate-cost"]) == 0.3105
