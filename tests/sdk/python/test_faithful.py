"""Bytes: what the SDK sent is what the upstream got, and the other way round, except what design.md names."""

import json

import pytest

from clients import ANTHROPIC_TOOL, OPENAI_TOOL, Wire, anthropic_client, genai_client, openai_client, user
from conftest import KEY

# White space, an unknown field, a number that no float keeps, keys in odd order: a parser would change all of them.
ODD_CHAT = (
    '{ "usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19},\n  "id":"chatcmpl-odd", "object":"chat.completion",'
    '"created":1790000000,"model":"gpt-4o-mini","x_exact":0.30000000000000004440892098500626,"x_escaped":"Z\\u00fcrich \\/",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"odd"},"finish_reason":"stop"}]}\n'
)
ODD_STREAM = (
    ": a comment\n\n"
    'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","x":1.10,"choices":[{"index":0,"delta":{"content":"o"},"finish_reason":null}]}\n\n'
    'data:{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"dd"},"finish_reason":"stop"}]}\n\n'
)
USAGE_CHUNK = (
    'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    '"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}}\n\n'
)
DONE = "data: [DONE]\n\n"


def anthropic_call(url, wire, model, **more):
    anthropic_client(url, KEY, wire).messages.create(
        model=model, max_tokens=100, system="Be brief.", messages=user("Grüße 🙂"), tools=[ANTHROPIC_TOOL], **more
    )


def chat_call(url, wire, model, **more):
    openai_client(url, KEY, wire).chat.completions.create(
        model=model, messages=user("Grüße 🙂"), tools=[OPENAI_TOOL], extra_body={"x_unknown": [1, {"a": None}]}, **more
    )


def embedding_call(url, wire, model):
    openai_client(url, KEY, wire).embeddings.create(model=model, input=["a", "b"])


def responses_call(url, wire, model, **more):
    openai_client(url, KEY, wire).responses.create(model=model, input="hi", instructions="Be brief.", store=False, **more)


def count_call(url, wire, model):
    anthropic_client(url, KEY, wire).messages.count_tokens(model=model, messages=user("hi"))


CALLS = [
    pytest.param(chat_call, "gpt-4o-mini", "smart-openai", id="chat"),
    pytest.param(responses_call, "gpt-4o-mini", "smart-openai", id="responses"),
    pytest.param(embedding_call, "text-embedding-3-small", "smart-embedding", id="embeddings"),
    pytest.param(anthropic_call, "claude-opus-4-6", "smart-anthropic", id="messages"),
    pytest.param(count_call, "claude-opus-4-6", "smart-anthropic", id="count_tokens"),
]


@pytest.mark.parametrize(("call", "model", "_"), CALLS)
def test_the_upstream_gets_the_bytes_that_the_sdk_sent(gateway_process, upstream, call, model, _):
    wire = Wire()
    call(gateway_process.url, wire, model)
    assert upstream.only_call().body == wire.sent[0]


@pytest.mark.parametrize(("call", "model", "ours"), CALLS)
def test_only_the_model_is_rewritten(gateway_process, upstream, call, model, ours):
    wire = Wire()
    call(gateway_process.url, wire, ours)
    renamed = wire.sent[0].replace(f'"model":"{ours}"'.encode(), f'"model":"{model}"'.encode())
    assert renamed != wire.sent[0]
    assert upstream.only_call().body == renamed


@pytest.mark.parametrize(
    ("call", "model"), [(anthropic_call, "claude-opus-4-6"), (responses_call, "gpt-4o-mini")], ids=["messages", "responses"]
)
def test_streams_ask_with_the_same_bytes(gateway_process, upstream, call, model):
    wire = Wire()
    call(gateway_process.url, wire, model, stream=True)
    assert upstream.only_call().body == wire.sent[0]


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "smart-gemini"])
def test_gemini_names_the_model_in_the_path(gateway_process, upstream, model):
    wire = Wire()
    client = genai_client(gateway_process.url, KEY, wire)
    client.models.generate_content(model=model, contents="Grüße 🙂")
    call = upstream.only_call()
    assert call.body == wire.sent[0]
    assert call.target == "/v1beta/models/gemini-2.5-flash:generateContent"


def test_gemini_names_the_model_again_in_each_part_of_a_batch(gateway_process, upstream):
    wire = Wire()
    client = genai_client(gateway_process.url, KEY, wire)
    client.models.embed_content(model="smart-vectors", contents=["a", "b"])
    call = upstream.only_call()
    assert call.target == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert call.body == wire.sent[0].replace(b"models/smart-vectors", b"models/gemini-embedding-001")
    assert b"smart-vectors" in wire.sent[0]


def test_a_chat_stream_asks_for_usage_and_keeps_all_else(gateway_process, upstream):
    wire = Wire()
    chat_call(gateway_process.url, wire, "gpt-4o-mini", stream=True)
    asked = upstream.only_call().json
    assert asked.pop("stream_options") == {"include_usage": True}
    assert asked == json.loads(wire.sent[0])


def test_a_chat_stream_that_asks_itself_is_left_alone(gateway_process, upstream):
    wire = Wire()
    chat_call(gateway_process.url, wire, "gpt-4o-mini", stream=True, stream_options={"include_usage": True})
    assert upstream.only_call().body == wire.sent[0]


def test_a_chat_stream_that_declines_usage_is_asked_for_all_the_same(gateway_process, upstream):
    client = openai_client(gateway_process.url, KEY)
    options = {"include_usage": False, "include_obfuscation": False}
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=user("hi"), stream=True, stream_options=options))
    assert upstream.only_call().json["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert [chunk.usage for chunk in chunks if chunk.usage] == []


def test_the_answer_arrives_as_the_upstream_wrote_it(gateway_process, upstream):
    upstream.raw(ODD_CHAT)
    client = openai_client(gateway_process.url, KEY)
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=user("hi"))
    assert raw.http_response.content == ODD_CHAT.encode()
    assert raw.parse().x_escaped == "Zürich /"


@pytest.mark.parametrize(("options", "expected"), [(None, ODD_STREAM + DONE), ({"include_usage": True}, ODD_STREAM + USAGE_CHUNK + DONE)])
def test_a_stream_arrives_as_the_upstream_wrote_it(gateway_process, upstream, options, expected):
    upstream.raw(ODD_STREAM + USAGE_CHUNK + DONE, "text/event-stream")
    client = openai_client(gateway_process.url, KEY)
    more = {"stream_options": options} if options else {}
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=user("hi"), stream=True, **more)
    assert raw.http_response.read().decode() == expected


def test_headers(gateway_process, upstream):
    client = openai_client(gateway_process.url, KEY)
    client.chat.completions.create(model="gpt-4o-mini", messages=user("hi"), extra_headers={"x-made-up": "kept", "te": "trailers"})
    headers = upstream.only_call().headers
    assert headers["x-made-up"] == "kept"
    assert headers["authorization"] == "Bearer sk-upstream-openai"
    assert headers["user-agent"].startswith("OpenAI/Python") or "python" in headers["user-agent"].lower()
    assert headers.get("accept-encoding", "identity") == "identity"
    assert "te" not in headers
    assert KEY not in str(headers)
