"""Remote (MCP) servers, declared with one official SDK and called by a provider of another format.

The token that a server is shown is the client's secret: it reaches the upstream, and nothing else."""

import json

import pytest

from clients import anthropic_client, openai_client
from conftest import KEY
from translation.world import of

TOKEN = "token-of-the-papers"
URL = "https://papers.example.com/mcp"
BETA = "mcp-client-2025-11-20"
CALLED = [
    {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "find", "server_name": "papers", "input": {"q": "rain"}},
    {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "is_error": False, "content": [{"type": "text", "text": "It rained."}]},
    {"type": "text", "text": "It did rain."},
]
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": CALLED, "stop_reason": "end_turn",
    "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 9},
}
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m",
    "output": [
        {"type": "mcp_call", "id": "mcp_1", "server_label": "papers", "name": "find", "arguments": '{"q":"rain"}', "output": "It rained.", "error": None, "status": "completed"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "It did rain.", "annotations": []}]},
    ],
    "usage": {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18, "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
}


def respond(upstream, answer: dict):
    upstream.raw(json.dumps(answer))


def test_of_openai_at_anthropic(translating, upstream):
    respond(upstream, MESSAGE)
    tool = {"type": "mcp", "server_label": "papers", "server_url": URL, "authorization": TOKEN, "allowed_tools": ["find"], "require_approval": "never"}
    client = openai_client(translating.url, KEY)
    answer = client.responses.create(model=f"{of('anthropic-messages')}/m", input="What do the papers say?", tools=[tool])

    call = upstream.only_call()
    assert call.json["mcp_servers"] == [{"type": "url", "name": "papers", "url": URL, "authorization_token": TOKEN}]
    toolset = {"type": "mcp_toolset", "mcp_server_name": "papers", "default_config": {"enabled": False}, "configs": {"find": {"enabled": True}}}
    assert call.json["tools"] == [toolset]
    assert call.headers["anthropic-beta"] == BETA
    (step,) = [item for item in answer.output if item.type == "mcp_call"]
    assert (step.server_label, step.name, step.arguments, step.output) == ("papers", "find", '{"q":"rain"}', "It rained.")
    assert answer.output_text == "It did rain."
    assert TOKEN not in translating.said() + translating.logged()


def test_of_anthropic_at_openai(translating, upstream):
    respond(upstream, RESPONSE)
    client = anthropic_client(translating.url, KEY)
    answer = client.beta.messages.create(
        model=f"{of('openai-responses')}/m",
        max_tokens=100,
        messages=[{"role": "user", "content": "What do the papers say?"}],
        mcp_servers=[{"type": "url", "name": "papers", "url": URL, "authorization_token": TOKEN}],
        tools=[{"type": "mcp_toolset", "mcp_server_name": "papers", "default_config": {"enabled": False}, "configs": {"find": {"enabled": True}}}],
        betas=[BETA],
    )
    call = upstream.only_call()
    tool = {"type": "mcp", "server_label": "papers", "server_url": URL, "authorization": TOKEN, "allowed_tools": ["find"], "require_approval": "never"}
    assert call.json["tools"] == [tool]
    assert "anthropic-beta" not in call.headers
    kinds = [block.type for block in answer.content if block.type != "redacted_thinking"]
    assert kinds == ["mcp_tool_use", "mcp_tool_result", "text"]
    (use,) = [block for block in answer.content if block.type == "mcp_tool_use"]
    assert (use.server_name, use.name, use.input) == ("papers", "find", {"q": "rain"})


@pytest.mark.parametrize("approval", [None, "always", {"never": {"read_only": True}}], ids=["unsaid", "always", "by kind"])
def test_what_a_person_must_approve_is_not_offered_where_nobody_is_asked(translating, upstream, approval):
    respond(upstream, MESSAGE)
    tool = {"type": "mcp", "server_label": "bank", "server_url": URL, "authorization": TOKEN, "require_approval": approval}
    client = openai_client(translating.url, KEY)
    client.responses.create(model=f"{of('anthropic-messages')}/m", input="Pay.", tools=[tool])
    call = upstream.only_call()
    assert "mcp_servers" not in call.json and "tools" not in call.json
    assert TOKEN.encode() not in call.body
