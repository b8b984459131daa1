"""What providers' own tools did (searches, pages that were read, code that was run), for each official SDK, in two turns.

Every recorded answer with such steps is given to each client by an upstream of its format. The SDK must know what it gets as
what it is, nobody may be asked to run anything, and when the client sends the answer back, the upstream must get its own
steps again to the letter: it takes no others.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import anthropic_client, genai_client, openai_client, user
from conftest import KEY
from translation.conversing import Conversing
from translation.recordings import FORMATS, Recording, load
from translation.world import of

THREADS = 8
PROVIDERS = [format for format in FORMATS if format != "openai-chat"]
IN_GEMINI = {"executableCode", "codeExecutionResult", "toolCall", "toolResponse"}
OTHERS = {"message", "reasoning", "function_call", "custom_tool_call", "image_generation_call"}
BLOCKS = ("server_tool_use", "mcp_tool_use", "_tool_result")


def steps(format: str, value) -> list[dict]:
    """The steps in an answer or in a request."""
    if isinstance(value, list):
        return [step for item in value for step in steps(format, item)]
    if not isinstance(value, dict):
        return []
    kind = value.get("type") or ""
    if format == "anthropic-messages" and kind.endswith(BLOCKS) and kind != "tool_result":
        return [value]
    if format == "gemini" and IN_GEMINI & value.keys():
        return [value]
    if format == "openai-responses" and "id" in value and kind.endswith("_call") and kind not in OTHERS:
        return [value]
    return [step for inner in value.values() for step in steps(format, inner)]


def answers(format: str) -> list[Recording]:
    """Those that are told at once; the deltas of streams are tested with the decoders."""
    fine = (one for one in load(format) if one.status == 200 and not one.expected["error"] and not one.streams)
    return [one for one in fine if steps(format, one.events)]


def prompt(recording: Recording) -> str:
    return f"answer as in recording {recording.id}"


def again(recording: Recording, client: str) -> str:
    return f"go on, {client}, after recording {recording.id}"


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("upstream", PROVIDERS)
def test_steps_come_home(translating, upstream_process, upstream, client):
    recordings = answers(upstream)
    rules = [{"match": {"body": prompt(one)}, "default": {"reply": one.reply}} for one in recordings]
    upstream_process.rules([{"match": {"body": "go on, "}, "default": {}}, *rules])
    conversing = Conversing(translating.url, KEY)

    def converse(recording: Recording) -> str:
        try:
            conversing.converse(client, f"{of(upstream)}/some-model", prompt(recording), again(recording, client), False)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the conversation did not go on
            return f"{type(error).__name__}: {str(error)[:300]}"
        return ""

    with ThreadPoolExecutor(THREADS) as pool:
        failures = dict(zip((one.id for one in recordings), pool.map(converse, recordings)))
    wrong = [f"{id}: {failure}" for id, failure in failures.items() if failure]
    received = upstream_process.received()
    for recording in recordings:
        second = [call.json for call in received if again(recording, client).encode() in call.body]
        wanted, got = steps(upstream, recording.events), steps(upstream, second)
        if client == upstream:
            # The provider's own client sends what its SDK makes of it: other members may be missing, none may be ours.
            wanted, got = ([step.get("type") or sorted(IN_GEMINI & step.keys()) for step in some] for some in (wanted, got))
        if wanted != got or "tollgate" in json.dumps(second):
            wrong.append(f"{recording.id}: {json.dumps(got)[:400]}, wanted {json.dumps(wanted)[:400]}")
    upstream_process.forget()
    assert recordings
    assert not wrong, f"{len(wrong)} of {len(recordings)}:\n" + "\n".join(wrong)


# --- what an SDK makes of it ------------------------------------------------------------------------------------------

SEARCH = {
    "anthropic-messages": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
        "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "Oslo rain"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                {"type": "web_search_result", "url": "https://example.com/oslo", "title": "Oslo", "encrypted_content": "E", "page_age": None}]},
            {"type": "server_tool_use", "id": "srvtoolu_2", "name": "code_execution", "input": {"code": "print(24)"}},
            {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_2", "content":
                {"type": "code_execution_result", "stdout": "24", "stderr": "", "return_code": 0, "content": []}},
            {"type": "text", "text": "24 mm.", "citations": [{"type": "web_search_result_location", "url": "https://example.com/oslo",
                "title": "Oslo", "encrypted_index": "E", "cited_text": "rain"}]},
        ],
        "usage": {"input_tokens": 5, "output_tokens": 5, "server_tool_use": {"web_search_requests": 1}},
    },
    "openai-responses": {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "error": None, "incomplete_details": None,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "output": [
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "Oslo rain",
                "sources": [{"type": "url", "url": "https://example.com/oslo"}]}},
            {"type": "code_interpreter_call", "id": "ci_2", "status": "completed", "container_id": "c", "code": "print(24)",
                "outputs": [{"type": "logs", "logs": "24"}]},
            {"type": "message", "id": "msg_3", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "24 mm.",
                "annotations": [{"type": "url_citation", "start_index": 0, "end_index": 6, "url": "https://example.com/oslo", "title": "Oslo"}]}]},
        ],
        "usage": {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0}},
    },
    "gemini": {
        "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"executableCode": {"language": "PYTHON", "code": "print(24)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "24"}},
            {"text": "24 mm."}]},
            "groundingMetadata": {"webSearchQueries": ["Oslo rain"], "groundingChunks": [{"web": {"uri": "https://example.com/oslo", "title": "Oslo"}}],
                "groundingSupports": [{"segment": {"endIndex": 6, "text": "24 mm."}, "groundingChunkIndices": [0]}]}}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10},
        "modelVersion": "gemini-3-pro-preview", "responseId": "r",
    },
}  # fmt: skip


@pytest.fixture(params=PROVIDERS)
def searched(request, upstream):
    """The model that answers so. Where the client of another format wants a stream, the whole answer is told as one."""
    upstream.raw(json.dumps(SEARCH[request.param]))
    return f"{of(request.param)}/some-model"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_responses(translating, searched, stream):
    stream = stream and not searched.startswith(of("openai-responses"))
    create = openai_client(translating.url, KEY).responses.create
    events = list(create(model=searched, input="a", stream=True)) if stream else []
    answer = events[-1].response if stream else create(model=searched, input="a")
    items = {item.type: item for item in answer.output}
    search, code = items["web_search_call"], items["code_interpreter_call"]
    assert (search.status, search.action.type, search.action.query) == ("completed", "search", "Oslo rain")
    assert [source.url for source in search.action.sources] == ["https://example.com/oslo"]
    assert (code.status, code.code, code.outputs[0].logs) == ("completed", "print(24)", "24")
    (cited,) = items["message"].content[0].annotations
    assert (cited.url, cited.start_index, cited.end_index) == ("https://example.com/oslo", 0, 6)
    assert "function_call" not in items
    if stream:
        kinds = [event.type for event in events if "_call" in event.type]
        assert {"response.web_search_call.in_progress", "response.web_search_call.searching", "response.web_search_call.completed"} <= {*kinds}
        assert {"response.code_interpreter_call_code.done", "response.code_interpreter_call.completed"} <= {*kinds}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_messages(translating, searched, stream):
    stream = stream and not searched.startswith(of("anthropic-messages"))
    client = anthropic_client(translating.url, KEY).messages
    ask = {"model": searched, "max_tokens": 50, "messages": user("a")}
    if stream:
        with client.stream(**ask) as events:
            answer = events.get_final_message()
    else:
        answer = client.create(**ask)
    used = {block.name: block for block in answer.content if block.type == "server_tool_use"}
    assert (used["web_search"].input, used["code_execution"].input) == ({"query": "Oslo rain"}, {"code": "print(24)"})
    results = {block.tool_use_id: block.content for block in answer.content if block.type.endswith("_tool_result")}
    (page,) = results[used["web_search"].id]
    assert page.url == "https://example.com/oslo"
    assert results[used["code_execution"].id].stdout == "24"
    assert answer.stop_reason == "end_turn" and not [block for block in answer.content if block.type == "tool_use"]
    assert answer.usage.server_tool_use.web_search_requests == 1
    (text,) = [block for block in answer.content if block.type == "text"]
    assert [citation.url for citation in text.citations] == ["https://example.com/oslo"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_gemini(translating, searched, stream):
    stream = stream and not searched.startswith(of("gemini"))
    client = genai_client(translating.url, KEY)
    models = client.models
    chunks = list(models.generate_content_stream(model=searched, contents="a")) if stream else [models.generate_content(model=searched, contents="a")]
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert [part.executable_code.code for part in parts if part.executable_code] == ["print(24)"]
    assert [part.code_execution_result.output for part in parts if part.code_execution_result] == ["24"]
    grounding = chunks[-1].candidates[0].grounding_metadata
    assert grounding.web_search_queries == ["Oslo rain"]
    assert [chunk.web.uri for chunk in grounding.grounding_chunks] == ["https://example.com/oslo"]
    assert not [part for part in parts if part.function_call]


def test_chat(translating, searched):
    (choice,) = openai_client(translating.url, KEY).chat.completions.create(model=searched, messages=user("a")).choices
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == ("24 mm.", None, "stop")
    assert [one.url_citation.url for one in choice.message.annotations] == ["https://example.com/oslo"]
