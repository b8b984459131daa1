"""Tools that Anthropic defines and the client runs, and what they say, over targets of other formats: the client must see calls by
the name that it declared, and what a search of its own found stays in the result."""

import pytest

from clients import anthropic_client
from conftest import KEY
from translation.world import of

TOOLS = [{"type": "bash_20250124", "name": "bash"}, {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]
FOUND = {
    "type": "search_result",
    "source": "https://rents.example/north",
    "title": "Rents in the north",
    "content": [{"type": "text", "text": "800 to 950."}],
}
TOLD = "Rents in the north\nhttps://rents.example/north\n\n800 to 950."


@pytest.fixture
def client(translating):
    return anthropic_client(translating.url, KEY)


@pytest.mark.parametrize("format", ["openai-chat", "openai-responses", "gemini"])
def test_they_are_called_and_answered(client, upstream, format):
    ask = {"role": "user", "content": "What is the rent?"}
    wanted = {"model": f"{of(format)}/m", "max_tokens": 99, "tools": TOOLS}
    upstream.answer(tool_calls=[{"name": "bash", "arguments": {"command": "ls"}, "id": "call_tk_0"}], pieces=[])
    called = client.messages.create(**wanted, messages=[ask], tool_choice={"type": "tool", "name": "bash"})
    assert called.stop_reason == "tool_use"
    assert [(block.name, block.input) for block in called.content if block.type == "tool_use"] == [("bash", {"command": "ls"})]
    body = upstream.only_call().json
    declared = {tool["name"]: tool for tool in functions(format, body)}
    assert set(declared) == {"bash", "str_replace_based_edit_tool"}
    schema = declared["bash"].get("parameters") or declared["bash"]["parametersJsonSchema"]
    assert set(schema["properties"]) == {"command", "restart"}

    upstream.answer(pieces=["done"])
    upstream.received()
    call = next(block for block in called.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [FOUND]}
    turns = [ask, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**wanted, messages=turns).content[0].text == "done"
    assert said(format, upstream.only_call().json) == [TOLD]


def functions(format: str, body: dict) -> list[dict]:
    if format == "gemini":
        return body["tools"][0]["functionDeclarations"]
    return [tool["function"] if format == "openai-chat" else tool for tool in body["tools"]]


def said(format: str, body: dict) -> list[str]:
    """What the tools said."""
    if format == "gemini":
        parts = [part for content in body["contents"] for part in content["parts"]]
        return [part["functionResponse"]["response"]["output"] for part in parts if "functionResponse" in part]
    if format == "openai-chat":
        return [message["content"] for message in body["messages"] if message["role"] == "tool"]
    return [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
