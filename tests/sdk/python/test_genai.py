"""The `google-genai` SDK in front of an upstream whose every word is known."""

import urllib.request

import pytest
from google.genai import errors, types

from clients import GENAI_TOOL, genai_client
from conftest import KEY
from scripted import INPUT_TOKENS, OUTPUT_TOKENS, TEXT

MODELS = ["gemini-2.5-flash", "smart-gemini"]
ARGUMENTS = {"city": "Zürich"}
TOOL_CALL = {"pieces": [], "tool_calls": [{"id": "call_tk_0", "name": "get_weather", "arguments": ARGUMENTS}]}
TOOLS = types.GenerateContentConfig(tools=[GENAI_TOOL])


# The SDK's own default is `v1`; much code in the world still asks for `v1beta`.
@pytest.fixture(params=["v1", "v1beta"])
def client(gateway, request):
    return genai_client(gateway.url, KEY, api_version=request.param)


@pytest.mark.parametrize("model", MODELS)
def test_answer(client, model):
    answer = client.models.generate_content(model=model, contents="hi")
    assert answer.text == TEXT
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (INPUT_TOKENS, OUTPUT_TOKENS)


@pytest.mark.parametrize("model", MODELS)
def test_stream(client, model):
    chunks = list(client.models.generate_content_stream(model=model, contents="hi"))
    assert len(chunks) > 1
    assert "".join(chunk.text or "" for chunk in chunks) == TEXT
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_tool_call(client, upstream):
    upstream.answer(**TOOL_CALL)
    answer = client.models.generate_content(model="gemini-2.5-flash", contents="weather?", config=TOOLS)
    assert [(call.name, call.args) for call in answer.function_calls] == [("get_weather", ARGUMENTS)]
    chunks = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="weather?", config=TOOLS))
    assert [call.args for chunk in chunks for call in chunk.function_calls or []] == [ARGUMENTS]


@pytest.mark.parametrize("model", MODELS)
def test_count_tokens(client, model):
    assert client.models.count_tokens(model=model, contents="hi").total_tokens == INPUT_TOKENS


def test_embeddings(client):
    # The SDK always asks with `batchEmbedContents`, for one text too.
    answer = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert [embedding.values[0] for embedding in answer.embeddings] == [0.25, 0.5]


def test_chat_session_keeps_its_history(client, upstream):
    chat = client.chats.create(model="smart-gemini")
    chat.send_message("one")
    chat.send_message("two")
    turns = upstream.received()[-1].json["contents"]
    assert [turn["parts"][0]["text"] for turn in turns] == ["one", TEXT, "two"]


def test_models(gateway_process):
    client = genai_client(gateway_process.url, KEY)
    names = [model.name for model in client.models.list()]
    assert {"models/smart-gemini", "models/smart-openai"} <= set(names)


@pytest.mark.parametrize("name", ["smart-gemini", "models/smart-gemini"])
def test_one_model(gateway_process, name):
    client = genai_client(gateway_process.url, KEY)
    assert client.models.get(model=name).name == "models/smart-gemini"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="no-such-model")
    assert caught.value.code == 404


def test_the_key_may_stand_in_the_query(gateway_process, upstream):
    body = b'{"contents": [{"parts": [{"text": "hi"}]}]}'
    address = f"{gateway_process.url}/v1beta/models/smart-gemini:generateContent?key={KEY}"
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert TEXT in response.read().decode()
    call = upstream.only_call()
    assert KEY not in call.target
    assert call.credential == "sk-upstream-gemini"
