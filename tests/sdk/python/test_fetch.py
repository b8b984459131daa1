"""Files that SDKs name by their addresses, in front of upstreams whose format takes only bytes."""

import base64
import json

import anthropic
import openai
import pytest

from clients import anthropic_client, openai_client
from conftest import KEY
from scripted import Scripted
from tollgate import Tollgate

PDF = b"%PDF-1.7 the document"
PNG = b"\x89PNG\r\n\x1a\nthe picture"
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "seen"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 40, "outputTokens": 9, "totalTokens": 49},
}


def raw(content_type: str, body: bytes) -> dict:
    reply = {"status": 200, "headers": [["content-type", content_type]], "body": {"b64": base64.b64encode(body).decode()}}
    return {"default": {"reply": {"raw": reply}}}


@pytest.fixture(scope="module")
def world():
    with Scripted() as upstream, Scripted() as files:
        upstream.rules([{"match": {"path": "/converse"}} | raw("application/json", json.dumps(ANSWER).encode())])
        files.rules(
            [
                {"match": {"path": "/report.pdf"}} | raw("application/pdf", PDF),
                {"match": {"path": "/picture.png"}} | raw("application/octet-stream", PNG),
                {"match": {"path": "/login"}} | raw("text/html", b"<html>who are you?</html>"),
            ]
        )
        config = f"""
security: {{allow_upstream_cidrs: ["127.0.0.0/8"]}}
upstreams:
  - name: chat
    provider: openai-compatible
    dialect: openai_chat
    base_url: {upstream.url}/v1
    models: ["chat-*"]
    credentials: [{{name: k1, key: sk-upstream}}]
  - name: aws
    provider: bedrock
    base_url: {upstream.url}
    variables: {{region: eu-west-1}}
    models: ["nova-*"]
    credentials: [{{name: k1, key: sk-upstream}}]
users: [{{name: alice}}]
keys: [{{name: k, user: alice, key: {KEY}}}]
"""
        with Tollgate(config) as gateway:
            yield gateway, upstream, files


@pytest.fixture(autouse=True)
def fresh(world):
    world[1].forget()


def ask_anthropic(gateway, url: str):
    document = {"type": "document", "source": {"type": "url", "url": url}}
    content = [document, {"type": "text", "text": "Summarize."}]
    client = anthropic_client(gateway.url, KEY)
    return client.messages.create(model="chat-1", max_tokens=100, messages=[{"role": "user", "content": content}])


def test_a_pdf_by_url_reaches_chat_completions_as_data(world):
    gateway, upstream, files = world
    answer = ask_anthropic(gateway, f"{files.url}/report.pdf")
    assert answer.content[0].text
    file = upstream.only_call().json["messages"][0]["content"][0]["file"]
    assert file == {"filename": "report.pdf", "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}"}


def test_a_picture_by_url_reaches_bedrock_as_bytes(world):
    gateway, upstream, files = world
    content = [{"type": "image_url", "image_url": {"url": f"{files.url}/picture.png"}}, {"type": "text", "text": "What is it?"}]
    client = openai_client(gateway.url, KEY)
    answer = client.chat.completions.create(model="nova-1", messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content == "seen"
    image = upstream.only_call().json["messages"][0]["content"][0]["image"]
    assert image == {"format": "png", "source": {"bytes": base64.b64encode(PNG).decode()}}


def test_what_cannot_be_had_is_the_callers_mistake_in_every_sdk(world):
    gateway, upstream, files = world
    with pytest.raises(anthropic.BadRequestError, match="`text/html`, and a document is wanted"):
        ask_anthropic(gateway, f"{files.url}/login")
    content = [{"type": "input_image", "image_url": f"{files.url}/login"}]
    with pytest.raises(openai.BadRequestError, match="an image is wanted"):
        openai_client(gateway.url, KEY).responses.create(model="nova-1", input=[{"role": "user", "content": content}])
    assert upstream.received() == []
