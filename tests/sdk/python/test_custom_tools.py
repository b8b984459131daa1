"""OpenAI's custom tools (free text in, no schema) over targets that have functions only: the client must see the call of the
tool that it declared, and may send it back with the result."""

import json

import pytest

from clients import openai_client
from conftest import KEY
from translation.world import of

TARGETS = ["anthropic-messages", "gemini"]
TOOL = {"type": "custom", "custom": {"name": "shell", "description": "Runs a command."}}
SCRIPT = "cat <<'E'\n\"quoted\" \\ and ünï\nE"


@pytest.fixture
def client(translating):
    return openai_client(translating.url, KEY)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("format", TARGETS)
def test_chat_completions(client, upstream, format, stream):
    model = f"{of(format)}/m"
    ask = [{"role": "user", "content": "run it"}]
    upstream.answer(tool_calls=[{"name": "shell", "arguments": {"input": SCRIPT}, "id": "call_tk_0"}], pieces=[])
    if stream:
        with client.chat.completions.stream(model=model, messages=ask, tools=[TOOL]) as events:
            chunks = [event.chunk for event in events if event.type == "chunk"]
        deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
        assert [getattr(delta, "type", None) for delta in deltas][0] == "custom"
        said = {"id": deltas[0].id, "name": deltas[0].custom["name"], "input": "".join(delta.custom.get("input", "") for delta in deltas)}
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
    else:
        call = client.chat.completions.create(model=model, messages=ask, tools=[TOOL]).choices[0].message.tool_calls[0]
        assert call.type == "custom"
        said = {"id": call.id, "name": call.custom.name, "input": call.custom.input}
    assert (said["name"], said["input"]) == ("shell", SCRIPT)

    upstream.answer(pieces=["done"])
    upstream.received()
    called = {"id": said["id"], "type": "custom", "custom": {"name": "shell", "input": said["input"]}}
    turn = [*ask, {"role": "assistant", "content": None, "tool_calls": [called]}, {"role": "tool", "tool_call_id": said["id"], "content": "ok"}]
    done = client.chat.completions.create(model=model, messages=turn, tools=[TOOL])
    assert done.choices[0].message.content == "done"
    body = upstream.only_call().json
    assert [given["input"] for given in inputs(format, body)] == [SCRIPT], json.dumps(body)


def inputs(format: str, body: dict) -> list[dict]:
    if format == "gemini":
        parts = [part for content in body["contents"] for part in content["parts"]]
        return [part["functionCall"]["args"] for part in parts if "functionCall" in part]
    blocks = [block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]]
    return [block["input"] for block in blocks if block["type"] == "tool_use"]
