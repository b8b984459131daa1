"""`client.realtime.connect` of the `openai` SDK, through a gateway in front of an upstream whose every event is known."""

import asyncio
import json

import openai
import pytest
import websockets.exceptions

from clients import openai_client
from conftest import BROKE_KEY, KEY

USAGE = {
    "total_tokens": 355,
    "input_tokens": 267,
    "output_tokens": 88,
    "input_token_details": {"text_tokens": 127, "audio_tokens": 140, "cached_tokens": 192,
                            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 128}},
    "output_token_details": {"text_tokens": 24, "audio_tokens": 64},
}


def say(event: dict) -> dict:
    return {"say": json.dumps(event)}


def response(status: str, usage) -> dict:
    return {"object": "realtime.response", "id": "resp_1", "status": status, "output": [], "usage": usage}


TURNS = [
    say({"type": "session.created", "event_id": "e1", "session": {"type": "realtime", "object": "realtime.session",
                                                                  "id": "sess_1", "model": "gpt-realtime"}}),
    {"hear": "session.update"},
    {"hear": "conversation.item.create"},
    {"hear": "response.create"},
    say({"type": "response.created", "event_id": "e2", "response": response("in_progress", None)}),
    say({"type": "response.output_text.delta", "event_id": "e3", "response_id": "resp_1", "item_id": "i1",
         "output_index": 0, "content_index": 0, "delta": "Grüezi 👋"}),
    say({"type": "response.done", "event_id": "e4", "response": response("completed", USAGE)}),
]


@pytest.fixture
def session(upstream):
    upstream.follow(reply={"talk": {"turns": TURNS}})
    return upstream


@pytest.fixture
def client(gateway):
    return openai_client(gateway.url, KEY)


def ask(connection):
    connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    )
    connection.response.create()


def check(events):
    assert [event.type for event in events] == [
        "session.created", "response.created", "response.output_text.delta", "response.done",
    ]
    assert events[2].delta == "Grüezi 👋"
    assert events[3].response.usage.input_token_details.cached_tokens_details.audio_tokens == 128


def test_session(client, session):
    events = []
    with client.realtime.connect(model="gpt-realtime") as connection:
        ask(connection)
        for event in connection:
            events.append(event)
            if event.type == "response.done":
                break
    check(events)


def test_async_session(gateway, session):
    async def run():
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
        events = []
        async with client.realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(session={"type": "realtime"})
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": []})
            await connection.response.create()
            async for event in connection:
                events.append(event)
                if event.type == "response.done":
                    return events

    check(asyncio.run(run()))


@pytest.mark.parametrize(("key", "model", "status"), [
    ("sk-tg-sdk-nobody-0123456789abcdef0123456789", "gpt-realtime", 401),
    (KEY, "nobody", 404),
    (BROKE_KEY, "gpt-realtime", 402),
])
def test_refusals(gateway, session, key, model, status):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        with openai_client(gateway.url, key).realtime.connect(model=model):
            pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["error"]["message"]


def test_azure_client(gateway, session):
    client = openai.AzureOpenAI(
        azure_endpoint=gateway.url,
        websocket_base_url=f"{gateway.url}/openai".replace("http", "ws", 1),
        api_key=KEY,
        api_version="2025-04-01-preview",
        max_retries=0,
    )
    events = []
    with client.realtime.connect(model="gpt-realtime") as connection:
        ask(connection)
        for event in connection:
            events.append(event)
            if event.type == "response.done":
                break
    check(events)
