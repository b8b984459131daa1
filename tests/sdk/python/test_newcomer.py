"""A newcomer's first minute: an empty folder, no configuration, the printed lines, and an SDK."""

import json
import shlex
import subprocess
import sys

import anthropic
import openai
import pytest
from google.genai import errors

from clients import (
    ANTHROPIC_TOOL,
    GENAI_TOOL,
    OPENAI_TOOL,
    RESPONSES_TOOL,
    anthropic_client,
    genai_client,
    openai_client,
    user,
)
from google.genai import types

PROMPT = "a purple giraffe"
WRONG_KEY = "sk-tg-sdk-nobody-0123456789abcdef0123456789"


@pytest.fixture(scope="module")
def key(newcomer):
    keys = {value for value in newcomer.exported().values() if value.startswith("sk-")}
    assert len(keys) == 1, newcomer.said() + newcomer.logged()
    return keys.pop()


@pytest.fixture
def openai_sdk(newcomer, key):
    return openai_client(newcomer.url, key)


@pytest.fixture
def anthropic_sdk(newcomer, key):
    return anthropic_client(newcomer.url, key)


@pytest.fixture
def genai_sdk(newcomer, key):
    return genai_client(newcomer.url, key)


# --- the printed lines ---

ASK = f"import openai; print(openai.OpenAI().chat.completions.create(model='demo', messages=[dict(role='user', content='{PROMPT}')]).choices[0].message.content)"


def test_three_lines_are_printed(newcomer):
    assert len(newcomer.shell_lines()) == 3, newcomer.said()


def test_the_printed_lines_make_an_sdk_work(newcomer):
    lines = [*newcomer.shell_lines(), f"{sys.executable} -c {shlex.quote(ASK)}"]
    # As pasted: one line after the other, in a shell that stops at the first mistake.
    done = subprocess.run(["bash", "-eu"], input="\n".join(lines), capture_output=True, text=True, env=newcomer.env, timeout=60)
    assert done.returncode == 0, done.stderr
    assert PROMPT in done.stdout.splitlines()[-1]


def test_the_key_is_printed_once(newcomer, key):
    assert (newcomer.said() + newcomer.logged()).count(key) == 1


def test_secrets_and_database_are_for_the_owner_alone(newcomer):
    made = [path for path in (newcomer.dir / "data").rglob("*") if path.is_file()]
    assert made
    assert {oct(path.stat().st_mode & 0o077) for path in made} == {"0o0"}, made


# --- openai ---


def test_openai_answer(openai_sdk):
    answer = openai_sdk.chat.completions.create(model="demo", messages=user(PROMPT))
    assert PROMPT in answer.choices[0].message.content
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_stream(openai_sdk):
    chunks = list(openai_sdk.chat.completions.create(model="demo", messages=user(PROMPT), stream=True))
    assert len(chunks) > 2
    assert PROMPT in "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_openai_tool_call(openai_sdk):
    answer = openai_sdk.chat.completions.create(model="demo", messages=user(PROMPT), tools=[OPENAI_TOOL])
    call = answer.choices[0].message.tool_calls[0]
    assert (answer.choices[0].finish_reason, call.function.name) == ("tool_calls", "get_weather")
    assert isinstance(json.loads(call.function.arguments), dict)


def test_openai_tool_loop_ends(openai_sdk):
    first = openai_sdk.chat.completions.create(model="demo", messages=user(PROMPT), tools=[OPENAI_TOOL])
    call = first.choices[0].message
    turns = [*user(PROMPT), call.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "sunny"}]
    second = openai_sdk.chat.completions.create(model="demo", messages=turns, tools=[OPENAI_TOOL])
    assert (second.choices[0].finish_reason, bool(second.choices[0].message.content)) == ("stop", True)


def test_openai_streamed_tool_call(openai_sdk):
    with openai_sdk.chat.completions.stream(model="demo", messages=user(PROMPT), tools=[OPENAI_TOOL]) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls[0].function.name == "get_weather"


def test_openai_embeddings(openai_sdk):
    model = embedding_model(openai_sdk)
    vectors = [item.embedding for item in openai_sdk.embeddings.create(model=model, input=["a", "b", "a"]).data]
    assert len(vectors) == 3 and len(vectors[0]) > 1
    assert vectors[0] == vectors[2] != vectors[1]


def embedding_model(sdk) -> str:
    """What the list offers for embeddings, as a newcomer would look."""
    ids = [model.id for model in sdk.models.list()]
    return next((id for id in ids if "embed" in id), "demo")


def test_openai_completions(openai_sdk):
    assert PROMPT in openai_sdk.completions.create(model="demo", prompt=PROMPT).choices[0].text


def test_openai_models(openai_sdk):
    models = list(openai_sdk.models.list())
    assert "demo" in [model.id for model in models]
    assert {model.object for model in models} == {"model"}


def test_openai_responses(openai_sdk):
    answer = openai_sdk.responses.create(model="demo", input=PROMPT)
    assert PROMPT in answer.output_text
    assert (answer.status, answer.usage.output_tokens > 0) == ("completed", True)


def test_openai_responses_stream(openai_sdk):
    with openai_sdk.responses.stream(model="demo", input=PROMPT) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "".join(deltas)
    assert PROMPT in "".join(deltas)


def test_openai_responses_tool_call(openai_sdk):
    answer = openai_sdk.responses.create(model="demo", input=PROMPT, tools=[RESPONSES_TOOL])
    assert [item.name for item in answer.output if item.type == "function_call"] == ["get_weather"]


# --- anthropic ---


def test_anthropic_answer(anthropic_sdk):
    answer = anthropic_sdk.messages.create(model="demo", max_tokens=200, messages=user(PROMPT))
    assert PROMPT in answer.content[0].text
    assert (answer.stop_reason, answer.usage.input_tokens > 0, answer.usage.output_tokens > 0) == ("end_turn", True, True)


def test_anthropic_stream(anthropic_sdk):
    with anthropic_sdk.messages.stream(model="demo", max_tokens=200, messages=user(PROMPT)) as stream:
        pieces = list(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0
    assert len(pieces) > 1 and PROMPT in "".join(pieces)


def test_anthropic_tool_call(anthropic_sdk):
    ask = {"model": "demo", "max_tokens": 200, "messages": user(PROMPT), "tools": [ANTHROPIC_TOOL]}
    for answer in (anthropic_sdk.messages.create(**ask), anthropic_sdk.messages.stream(**ask).__enter__().get_final_message()):
        assert answer.stop_reason == "tool_use"
        assert [block.name for block in answer.content if block.type == "tool_use"] == ["get_weather"]


def test_anthropic_count_tokens(anthropic_sdk):
    short = anthropic_sdk.messages.count_tokens(model="demo", messages=user("hi")).input_tokens
    long = anthropic_sdk.messages.count_tokens(model="demo", messages=user("many words " * 50)).input_tokens
    assert 0 < short < long


def test_anthropic_models(anthropic_sdk):
    models = list(anthropic_sdk.models.list())
    assert "demo" in [model.id for model in models]
    assert all(model.display_name and model.created_at for model in models)


# --- google-genai ---


def test_gemini_answer(genai_sdk):
    answer = genai_sdk.models.generate_content(model="demo", contents=PROMPT)
    assert PROMPT in answer.text
    assert answer.usage_metadata.prompt_token_count > 0 and answer.usage_metadata.candidates_token_count > 0


def test_gemini_stream(genai_sdk):
    chunks = list(genai_sdk.models.generate_content_stream(model="demo", contents=PROMPT))
    assert len(chunks) > 1 and PROMPT in "".join(chunk.text or "" for chunk in chunks)


def test_gemini_tool_call(genai_sdk):
    config = types.GenerateContentConfig(tools=[GENAI_TOOL])
    answer = genai_sdk.models.generate_content(model="demo", contents=PROMPT, config=config)
    assert [call.name for call in answer.function_calls] == ["get_weather"]


def test_gemini_count_tokens(genai_sdk):
    assert genai_sdk.models.count_tokens(model="demo", contents=PROMPT).total_tokens > 0


def test_gemini_embeddings(genai_sdk, openai_sdk):
    answer = genai_sdk.models.embed_content(model=embedding_model(openai_sdk), contents=["a", "b"])
    assert len(answer.embeddings) == 2 and len(answer.embeddings[0].values) > 1


def test_gemini_models(genai_sdk):
    assert "models/demo" in [model.name for model in genai_sdk.models.list()]


# --- refusals ---


def test_a_wrong_key(newcomer):
    with pytest.raises(openai.AuthenticationError):
        openai_client(newcomer.url, WRONG_KEY).chat.completions.create(model="demo", messages=user("hi"))
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_client(newcomer.url, WRONG_KEY).messages.create(model="demo", max_tokens=9, messages=user("hi"))
    gemini = genai_client(newcomer.url, WRONG_KEY)
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.generate_content(model="demo", contents="hi")
    assert caught.value.code == 401


def test_a_model_that_is_not_there(openai_sdk, anthropic_sdk, genai_sdk):
    with pytest.raises(openai.NotFoundError):
        openai_sdk.chat.completions.create(model="no-such-model", messages=user("hi"))
    with pytest.raises(anthropic.NotFoundError):
        anthropic_sdk.messages.create(model="no-such-model", max_tokens=9, messages=user("hi"))
    with pytest.raises(errors.ClientError) as caught:
        genai_sdk.models.generate_content(model="no-such-model", contents="hi")
    assert caught.value.code == 404
