"""Streams under conditions that an SDK must not notice: odd chunk boundaries, silence, crowds, size."""

import asyncio

import openai
import pytest

from clients import TIMEOUT_S, anthropic_client, genai_client, openai_client, user
from conftest import DIRECT, KEY, config
from scripted import TEXT
from tollgate import Tollgate


def chat(url):
    chunks = openai_client(url, KEY).chat.completions.create(model="smart-openai", messages=user("hi"), stream=True)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def responses(url):
    with openai_client(url, KEY).responses.stream(model="smart-openai", input="hi") as stream:
        stream.until_done()
        return stream.get_final_response().output_text


def messages(url):
    with anthropic_client(url, KEY).messages.stream(model="smart-anthropic", max_tokens=100, messages=user("hi")) as stream:
        return stream.get_final_text()


def gemini(url):
    client = genai_client(url, KEY)
    chunks = client.models.generate_content_stream(model="smart-gemini", contents="hi")
    return "".join(chunk.text or "" for chunk in chunks)


FORMATS = [chat, responses, messages, gemini]


@pytest.mark.parametrize("chunking", ["whole", {"size": 1}, {"size": 7}, {"sizes": [1, 200, 3]}], ids=str)
@pytest.mark.parametrize("ask", FORMATS)
def test_any_chunking_gives_the_same(gateway, upstream, ask, chunking):
    upstream.follow(chunking=chunking)
    assert ask(gateway.url) == TEXT


@pytest.mark.parametrize("framing", ["chunked", "until_close"])
@pytest.mark.parametrize("ask", FORMATS)
def test_any_framing_gives_the_same(gateway, upstream, ask, framing):
    upstream.follow(framing=framing)
    assert ask(gateway.url) == TEXT


# google-genai takes a comment line for JSON and fails, so a heartbeat of ours must not be one either: an empty line.
@pytest.mark.parametrize("ask", [chat, responses, messages])
def test_a_comment_of_the_upstream_is_not_noticed(gateway, upstream, ask):
    upstream.follow(edits=[{"insert": {"event": 2, "text": ": processing\n\n"}}])
    assert ask(gateway.url) == TEXT


@pytest.mark.parametrize("ask", FORMATS)
def test_empty_lines_of_the_upstream_are_not_noticed(gateway, upstream, ask):
    upstream.follow(edits=[{"insert": {"event": 2, "text": "\n\n"}}])
    assert ask(gateway.url) == TEXT


# --- silence ---

HEARTBEAT_MS = 100
SILENCE_MS = 350


@pytest.fixture(scope="module")
def nervous_gateway(upstream_process):
    """One that gives a sign of life early, so that the test need not wait fifteen seconds for it."""
    if DIRECT:
        pytest.skip("is about the gateway")
    text = config(upstream_process.url).replace("{retries: 0}", f"{{retries: 0, heartbeat: {HEARTBEAT_MS}ms}}")
    with Tollgate(text) as tollgate:
        yield tollgate


@pytest.mark.parametrize("ask", FORMATS)
def test_heartbeats_are_not_noticed(nervous_gateway, upstream, ask):
    upstream.follow(before_body_ms=SILENCE_MS, between_chunks_ms=SILENCE_MS)
    assert ask(nervous_gateway.url) == TEXT


def test_heartbeats_are_sent(nervous_gateway, upstream):
    upstream.follow(between_chunks_ms=SILENCE_MS)
    chat = openai_client(nervous_gateway.url, KEY).chat.completions.with_raw_response
    raw = chat.create(model="smart-openai", messages=user("hi"), stream=True)
    assert raw.http_response.read().decode().count("\n: ") >= 5
    anthropic = anthropic_client(nervous_gateway.url, KEY).messages.with_raw_response
    raw = anthropic.create(model="smart-anthropic", max_tokens=100, messages=user("hi"), stream=True)
    # One ping is the upstream's own.
    assert raw.http_response.read().decode().count("event: ping\n") >= 6


# --- crowds and size ---

CROWD = 50


def test_a_crowd_of_streams_is_not_mixed_up(gateway, upstream):
    # The upstream repeats the model that it was asked for; each caller asks for another.
    async def ask(client, number):
        stream = await client.chat.completions.create(model=f"gpt-{number}", messages=user("hi"), stream=True)
        chunks = [chunk async for chunk in stream]
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        return text, {chunk.model for chunk in chunks}

    async def crowd():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=TIMEOUT_S) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(CROWD)))

    assert asyncio.run(crowd()) == [(TEXT, {f"gpt-{number}"}) for number in range(CROWD)]


def test_a_large_prompt(gateway, upstream):
    text = "ü🙂x" * 300_000
    answer = openai_client(gateway.url, KEY).chat.completions.create(model="smart-openai", messages=user(text))
    assert answer.choices[0].message.content == TEXT
    assert upstream.only_call().json["messages"][0]["content"] == text


def test_a_client_that_leaves_early_stops_the_upstream(gateway_process, upstream):
    upstream.follow(reply={"answer": {"pieces": ["word "] * 200}}, between_chunks_ms=50)
    stream = openai_client(gateway_process.url, KEY).chat.completions.create(model="smart-openai", messages=user("hi"), stream=True)
    next(iter(stream))
    stream.close()
    assert upstream.ending_of_only_call() == "client_gone"
