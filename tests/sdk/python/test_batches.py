"""Batches as the SDKs make them, and what they cost: each answered request once, when the batch is over."""

import json

import pytest

from clients import anthropic_client, genai_client, openai_client, user
from conftest import OPEN_KEY
from test_kept import rule
from test_money import COST, balance, wait_until


@pytest.fixture
def lost(own_gateway):
    before = balance(own_gateway, OPEN_KEY)
    return lambda: round(before - balance(own_gateway, OPEN_KEY), 9)


def lines(values: list) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def raw(path: str, text: str) -> dict:
    reply = {"status": 200, "headers": [["content-type", "application/octet-stream"]], "body": {"text": text}}
    return {"match": {"path": path}, "default": {"reply": {"raw": reply}}}


def test_openai(own_gateway, upstream, lost):
    client = openai_client(own_gateway.url, OPEN_KEY)
    file = {"id": "file-in", "object": "file", "bytes": 5, "created_at": 1, "filename": "a", "purpose": "batch", "status": "processed"}
    batch = {
        "id": "batch_b", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-in", "created_at": 1,
        "completion_window": "24h", "status": "in_progress",
    }  # fmt: skip
    over = batch | {"status": "completed", "output_file_id": "file-out"}
    body = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18", "choices": [],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    }  # fmt: skip
    results = [{"id": n, "custom_id": n, "response": {"status_code": 200, "request_id": n, "body": body}, "error": None} for n in "ab"]
    results.append({"id": "x", "custom_id": "x", "response": {"status_code": 429, "body": {"error": {}}}, "error": None})
    answers = [rule("/files", file), rule("/batches", batch), raw("/file-out/content", lines(results))]
    upstream.rules([*answers, rule("/batches/batch_b", batch)])
    made = client.batches.create(
        input_file_id=client.files.create(file=("a", b"{}"), purpose="batch").id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    assert client.batches.retrieve(made.id).status == "in_progress"
    assert lost() == 0
    upstream.rules([*answers, rule("/batches/batch_b", over)])
    done = client.batches.retrieve(made.id)
    assert len(client.files.content(done.output_file_id).text.splitlines()) == 3
    wait_until("the batch is billed", lambda: lost() == round(2 * COST, 9))


def test_anthropic(own_gateway, upstream, lost):
    client = anthropic_client(own_gateway.url, OPEN_KEY)
    batch = {
        "id": "msgbatch_b", "type": "message_batch", "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z",
        "processing_status": "in_progress", "results_url": None,
        "request_counts": {"canceled": 0, "errored": 0, "expired": 0, "processing": 1, "succeeded": 0},
    }  # fmt: skip
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6", "content": [], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 12, "output_tokens": 7},
    }  # fmt: skip
    results = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "b", "result": {"type": "canceled"}},
    ]
    over = batch | {"processing_status": "ended", "results_url": "https://api.anthropic.test/v1/messages/batches/msgbatch_b/results"}
    upstream.rules(
        [
            rule("/messages/batches", batch),
            rule("/messages/batches/msgbatch_b", over),
            raw("/msgbatch_b/results", lines(results)),
        ]
    )
    params = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": user("hi")}
    made = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}, {"custom_id": "b", "params": params}])
    assert client.messages.batches.retrieve(made.id).results_url == f"{own_gateway.url}/v1/messages/batches/msgbatch_b/results"
    told = [result.result.type for result in client.messages.batches.results(made.id)]
    assert told == ["succeeded", "canceled"]
    wait_until("the batch is billed", lambda: lost() == COST)


def test_embeddings_of_genai(own_gateway, upstream, lost):
    client = genai_client(own_gateway.url, OPEN_KEY)
    embedding = {"embedding": {"values": [0.25, 0.5]}, "tokenCount": "12"}
    output = {"inlinedEmbedContentResponses": {"inlinedResponses": [{"response": embedding}, {"error": {"code": 3}}]}}
    batch = {"name": "batches/b1", "metadata": {"model": "models/gemini-embedding-001", "state": "BATCH_STATE_PENDING"}}
    over = batch | {"metadata": batch["metadata"] | {"state": "BATCH_STATE_SUCCEEDED", "output": output}}
    upstream.rules([rule(":asyncBatchEmbedContent", batch), rule("/batches/b1", over)])
    made = client.batches.create_embeddings(
        model="gemini-embedding-001", src={"inlined_requests": {"contents": ["hi", "ho"], "config": {"output_dimensionality": 2}}}
    )
    done = client.batches.get(name=made.name)
    assert done.dest.inlined_embed_content_responses[0].response.embedding.values == [0.25, 0.5]
    wait_until("the batch is billed", lambda: lost() == 0.012)
