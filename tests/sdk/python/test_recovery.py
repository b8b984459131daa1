"""Answers that break off and are gone on with: to each SDK they are one answer, whole."""

import pytest

from clients import anthropic_client, genai_client, openai_client, user
from conftest import KEY
from tollgate import Tollgate

PIECES = [f"t{at} " for at in range(12)]
WHOLE = "".join(PIECES)
# The first call of a test is cut after some words; whoever is given the beginning says the rest.
ANSWER = {"reply": {"answer": {"pieces": PIECES, "continues": True}}}
CUT = ANSWER | {"cut": {"at": {"events": 8}, "how": "reset"}}


def config(upstream: str) -> str:
    model = "{{name: {0}, recovery: true, targets: [{{upstream: {0}, model: m, capabilities: {{prefill: true}}}}], free: true}}"
    models = "\n".join("  - " + model.format(name) for name in ("openai", "anthropic", "gemini"))
    at = "credentials: [{name: k1, key: sk-upstream}], models: [m], breaker: off, cooldown: off"
    return f"""
upstreams:
  - {{name: openai, provider: openai, base_url: {upstream}/v1, {at}}}
  - {{name: anthropic, provider: anthropic, base_url: {upstream}/v1, {at}}}
  - {{name: gemini, provider: gemini, base_url: {upstream}/v1beta, {at}}}
models:
{models}
users: [{{name: alice}}]
keys: [{{name: alice-key, user: alice, key: {KEY}}}]
"""


@pytest.fixture(scope="module")
def recovering(upstream_process):
    with Tollgate(config(upstream_process.url)) as tollgate:
        yield tollgate


@pytest.fixture
def url(upstream_process, recovering):
    upstream_process.script({"queue": [CUT], "default": ANSWER})
    yield recovering.url
    assert len(upstream_process.received()) == 2


def test_openai(url):
    client = openai_client(url, KEY)
    chunks = list(client.chat.completions.create(model="openai", messages=user("hi"), stream=True))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == WHOLE
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert reasons == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_responses(url):
    with openai_client(url, KEY).responses.stream(model="openai", input="hi") as stream:
        response = stream.get_final_response()
    assert (response.status, response.output_text) == ("completed", WHOLE)


@pytest.mark.parametrize("model", ["anthropic", "openai"])
def test_anthropic(url, model):
    with anthropic_client(url, KEY).messages.stream(model=model, max_tokens=100, messages=user("hi")) as stream:
        message = stream.get_final_message()
    assert "".join(block.text for block in message.content) == WHOLE
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


@pytest.mark.parametrize("model", ["gemini", "anthropic"])
def test_gemini(url, model):
    client = genai_client(url, KEY)
    chunks = list(client.models.generate_content_stream(model=model, contents="hi"))
    assert "".join(chunk.text or "" for chunk in chunks) == WHOLE
    assert chunks[-1].candidates[0].finish_reason == "STOP"
