"""Streams that end badly: no SDK may take them for whole."""

import anthropic
import openai
import pytest
from google.genai import errors

from clients import anthropic_client, genai_client, openai_client, user
from conftest import KEY

# After five events each format has said something and not finished: what has begun can only end in-band.
FAULTS = {
    "error of the upstream": {"edits": [{"error": 5}]},
    "reset": {"cut": {"at": {"events": 5}, "how": "reset"}},
    "closed": {"cut": {"at": {"events": 5}, "how": "close"}},
    "ends as if whole": {"cut": {"at": {"events": 5}, "how": "end"}},
    "ends without the finish reason": {"cut": {"at": "finish", "how": "end"}},
    "malformed event": {"edits": [{"malform": 5}]},
}


@pytest.fixture(params=FAULTS, ids=lambda name: name.replace(" ", "-"))
def faulty(request, upstream):
    upstream.follow(**FAULTS[request.param])


def test_openai(faulty, gateway_process):
    client = openai_client(gateway_process.url, KEY)
    chunks = []
    with pytest.raises(openai.APIError) as caught:
        chunks.extend(client.chat.completions.create(model="smart-openai", messages=user("hi"), stream=True))
    # An error that was told in the stream, not a broken connection: only then is it an answer in the client's format.
    assert type(caught.value) is openai.APIError, repr(caught.value)
    assert caught.value.message
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)


def test_responses(faulty, gateway_process):
    stream = openai_client(gateway_process.url, KEY).responses.create(model="smart-openai", input="hi", stream=True)
    seen = []
    try:
        for event in stream:
            seen.append(event.type)
    except openai.APIError as error:
        assert type(error) is openai.APIError, repr(error)
    else:
        assert seen[-1] in {"error", "response.failed"}, seen
    assert "response.completed" not in seen


def test_anthropic(faulty, gateway_process):
    client = anthropic_client(gateway_process.url, KEY)
    with pytest.raises(anthropic.APIStatusError) as caught:
        with client.messages.stream(model="smart-anthropic", max_tokens=100, messages=user("hi")) as stream:
            stream.get_final_message()
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["message"]


def test_gemini(faulty, gateway_process):
    client = genai_client(gateway_process.url, KEY)
    chunks = []
    with pytest.raises(errors.APIError) as caught:
        for chunk in client.models.generate_content_stream(model="smart-gemini", contents="hi"):
            chunks.append(chunk)
    assert caught.value.details["error"]["code"] >= 500
    assert not any(candidate.finish_reason for chunk in chunks for candidate in chunk.candidates or [])


def test_a_missing_terminator_is_added(upstream, gateway_process):
    upstream.follow(cut={"at": "terminator", "how": "end"})
    client = openai_client(gateway_process.url, KEY)
    raw = client.chat.completions.with_raw_response.create(model="smart-openai", messages=user("hi"), stream=True)
    assert raw.http_response.read().decode().endswith("data: [DONE]\n\n")
