"""What OpenAI's SDK does with responses, files and batches after they were made, over upstreams that keep them and over
upstreams that keep nothing."""

import json

import openai
import pytest

from clients import OPENAI_TOOL, openai_client
from conftest import KEY, OPEN_KEY
from test_money import wait_until
from translation.world import of

FOREIGN = ["openai-chat", "anthropic-messages", "gemini"]
TOOL = {"type": "function", **OPENAI_TOOL["function"]}


@pytest.fixture
def client(translating):
    return openai_client(translating.url, KEY)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("format", FOREIGN)
def test_a_conversation_with_a_tool_goes_on_by_its_id(client, upstream, format, stream):
    model = f"{of(format)}/m"

    def create(**body):
        if not stream:
            return client.responses.create(model=model, tools=[TOOL], **body)
        with client.responses.stream(model=model, tools=[TOOL], **body) as events:
            return events.get_final_response()

    call = {"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "call_tk_0"}
    upstream.answer(tool_calls=[call], pieces=[])
    first = create(input="how is the weather in Oslo?")
    asked = next(item for item in first.output if item.type == "function_call")
    assert json.loads(asked.arguments) == {"city": "Oslo"}

    upstream.answer(pieces=["rain"])
    result = {"type": "function_call_output", "call_id": asked.call_id, "output": "4 degrees and rain"}
    second = create(input=[result], previous_response_id=first.id)
    assert second.previous_response_id == first.id

    upstream.answer(pieces=["yes"])
    third = create(input="an umbrella?", previous_response_id=second.id)
    body = upstream.only_call().body.decode()
    places = [body.index(word) for word in ("weather in Oslo?", "4 degrees and rain", "an umbrella?")]
    assert places == sorted(places)

    assert client.responses.retrieve(third.id).output_text == "yes"
    items = list(client.responses.input_items.list(third.id, order="asc", limit=2))
    kinds = [item.type for item in items]
    assert kinds == ["message", "function_call", "function_call_output", "message", "message"]
    assert items[0].content[0].text == "how is the weather in Oslo?"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(third.id)
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError) as lost:
        create(input="and now?", previous_response_id=second.id)
    assert (lost.value.code, lost.value.param) == ("previous_response_not_found", "previous_response_id")


def test_what_is_not_stored_cannot_be_asked_for(client):
    said = client.responses.create(model=f"{of('gemini')}/m", input="hi", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(said.id)


def response(status: str):
    usage = {
        "input_tokens": 12, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 19,
    }  # fmt: skip
    return {
        "id": "resp_sdk_bg", "object": "response", "created_at": 1, "status": status, "background": True, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": "gpt-4o-mini", "output": [],
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "usage": usage if status == "completed" else None,
    }  # fmt: skip


def rule(path: str, body) -> dict:
    raw = {"status": 200, "headers": [["content-type", "application/json"]], "body": {"text": json.dumps(body)}}
    return {"match": {"path": path}, "default": {"reply": {"raw": raw}}}


def test_work_in_the_background_is_followed_to_its_end(own_gateway, upstream):
    client = openai_client(own_gateway.url, KEY)
    steps = [rule("/responses", response("queued")), rule("/resp_sdk_bg", response("in_progress"))]
    upstream.rules(steps)
    created = client.responses.create(model="smart-openai", input="hi", background=True)
    assert (created.status, created.usage) == ("queued", None)
    assert client.responses.retrieve(created.id).status == "in_progress"
    upstream.rules([rule("/resp_sdk_bg", response("completed"))])
    done = client.responses.retrieve(created.id)
    assert (done.status, done.usage.output_tokens) == ("completed", 7)
    # 12 tokens in at $1000 and 7 out at $2000 per million.
    left = lambda: float(own_gateway.get_json("/api/me/balance", KEY)["balance"])
    wait_until("the response is billed", lambda: left() != 1000)
    assert round(1000 - left(), 9) == 0.026


def test_files_and_batches_are_their_makers(gateway_process, upstream):
    client = openai_client(gateway_process.url, OPEN_KEY)
    file = {"id": "file-sdk", "object": "file", "bytes": 5, "created_at": 1, "filename": "a", "purpose": "batch", "status": "processed"}
    batch = {
        "id": "batch_sdk", "object": "batch", "endpoint": "/v1/responses", "input_file_id": "file-sdk", "created_at": 1,
        "completion_window": "24h", "status": "completed", "output_file_id": "file-sdk-out",
    }  # fmt: skip
    upstream.rules([rule("/files", file), rule("/batches", batch), rule("/batches/batch_sdk", batch), rule("/content", "lines")])
    made = client.files.create(file=("a", b"hello"), purpose="batch")
    run = client.batches.create(input_file_id=made.id, endpoint="/v1/responses", completion_window="24h")
    done = client.batches.retrieve(run.id)
    assert client.files.content(done.output_file_id).text == '"lines"'
