"""The `openai` SDK in front of an upstream whose every word is known."""

import json

import openai
import pytest

from clients import OPENAI_TOOL, RESPONSES_TOOL, Wire, openai_client, user
from conftest import KEY
from scripted import INPUT_TOKENS, OUTPUT_TOKENS, TEXT

# The upstream's own name for it, and ours, which it is renamed from.
MODELS = ["gpt-4o-mini", "smart-openai"]
ARGUMENTS = {"city": "Zürich"}
TOOL_CALL = {"pieces": [], "tool_calls": [{"id": "call_tk_0", "name": "get_weather", "arguments": ARGUMENTS}]}


@pytest.fixture
def client(gateway):
    return openai_client(gateway.url, KEY)


@pytest.mark.parametrize("model", MODELS)
def test_answer(client, model):
    answer = client.chat.completions.create(model=model, messages=user("hi"))
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


@pytest.mark.parametrize("model", MODELS)
def test_stream(client, model):
    chunks = list(client.chat.completions.create(model=model, messages=user("hi"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [chunk.usage for chunk in chunks if chunk.usage] == []


def test_stream_with_usage_that_was_asked_for(client):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o-mini", messages=user("hi"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert len([chunk for chunk in chunks if chunk.usage]) == 1


def test_stream_helper(client):
    with client.chat.completions.stream(model="gpt-4o-mini", messages=user("hi")) as stream:
        events = [event.type for event in stream]
        assert stream.get_final_completion().choices[0].message.content == TEXT
    assert "content.done" in events


def test_tool_call(client, upstream):
    upstream.answer(**TOOL_CALL)
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=user("weather?"), tools=[OPENAI_TOOL])
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("call_tk_0", "get_weather", ARGUMENTS)


def test_parallel_tool_calls_in_a_stream(client, upstream):
    second = {"id": "call_tk_1", "name": "get_weather", "arguments": {"city": "Bern"}}
    upstream.answer(pieces=[], tool_calls=[TOOL_CALL["tool_calls"][0], second], interleave_tool_calls=True)
    with client.chat.completions.stream(model="smart-openai", messages=user("weather?"), tools=[OPENAI_TOOL]) as stream:
        final = stream.get_final_completion()
    calls = [(call.id, json.loads(call.function.arguments)) for call in final.choices[0].message.tool_calls]
    assert calls == [("call_tk_0", ARGUMENTS), ("call_tk_1", {"city": "Bern"})]


@pytest.mark.parametrize("model", ["text-embedding-3-small", "smart-embedding"])
def test_embeddings(client, model):
    # The SDK asks for base64 by itself and decodes it.
    answer = client.embeddings.create(model=model, input=["a", "b"])
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[0].embedding[:3] == [0.25, 0.125, 0.0]
    assert client.embeddings.create(model=model, input="a", encoding_format="float").data[0].embedding[:2] == [0.25, 0.125]


def test_completions(client):
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="hi")
    assert (answer.choices[0].text, answer.usage.completion_tokens) == (TEXT, OUTPUT_TOKENS)
    stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="hi", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == TEXT


@pytest.mark.parametrize("model", MODELS)
def test_responses(client, model):
    answer = client.responses.create(model=model, input="hi")
    assert (answer.output_text, answer.status) == (TEXT, "completed")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


@pytest.mark.parametrize("model", MODELS)
def test_responses_stream(client, model):
    events = list(client.responses.create(model=model, input="hi", stream=True))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.usage.output_tokens == OUTPUT_TOKENS


def test_responses_tool_call(client, upstream):
    upstream.answer(**TOOL_CALL)
    answer = client.responses.create(model="gpt-4o-mini", input="weather?", tools=[RESPONSES_TOOL])
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("get_weather", ARGUMENTS)]
    with client.responses.stream(model="gpt-4o-mini", input="weather?", tools=[RESPONSES_TOOL]) as stream:
        done = [event.arguments for event in stream if event.type == "response.function_call_arguments.done"]
    assert [json.loads(arguments) for arguments in done] == [ARGUMENTS]


def test_several_choices(client):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=user("hi"), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=user("hi"), n=3, stream=True)
    finished = [choice.index for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert sorted(finished) == [0, 1, 2]


def test_models(gateway_process):
    ids = [model.id for model in openai_client(gateway_process.url, KEY).models.list()]
    assert {"smart-openai", "smart-embedding", "smart-anthropic", "smart-gemini"} <= set(ids)
    assert len(ids) == len(set(ids))


def test_one_model(gateway_process):
    client = openai_client(gateway_process.url, KEY)
    assert client.models.retrieve("smart-openai").id == "smart-openai"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


@pytest.mark.parametrize("prefix", ["/api", "/api/proxy"])
def test_compatibility_paths(gateway_process, upstream, prefix):
    client = openai_client(gateway_process.url + prefix, KEY)
    assert client.chat.completions.create(model="smart-openai", messages=user("hi")).choices[0].message.content == TEXT
    assert upstream.only_call().target == "/v1/chat/completions"
    assert "smart-openai" in [model.id for model in client.models.list()]


@pytest.mark.parametrize("name", ["SMART-OpenAI", "scripted-openai/gpt-4o-mini"])
def test_a_model_has_several_names(gateway_process, upstream, name):
    client = openai_client(gateway_process.url, KEY)
    assert client.chat.completions.create(model=name, messages=user("hi")).choices[0].message.content == TEXT
    assert upstream.only_call().json["model"] == "gpt-4o-mini"


def test_own_headers_tell_where_it_went_and_what_it_cost(gateway_process, upstream):
    wire = Wire()
    client = openai_client(gateway_process.url, KEY, wire)
    client.chat.completions.create(model="smart-openai", messages=user("hi"))
    headers = wire.headers[0]
    assert headers["x-tollgate-upstream"] == "scripted-openai"
    assert headers["x-tollgate-attempts"] == "1"
    assert headers["x-request-id"]
    # 12 tokens at $0.001 and 7 at $0.002
    assert float(headers["x-tollgate-cost"]) == 0.026
