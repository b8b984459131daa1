"""What providers seal comes home: Anthropic's signatures, Gemini's `thoughtSignature`, OpenAI's `encrypted_content`.

Each recorded answer that has seals is given to each client by an upstream of its format; the client's SDK sends back
what it got in a second turn, and then the upstream must see its own seals again, to the letter.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import KEY
from translation.conversing import Conversing
from translation.plain import base64
from translation.recordings import FORMATS, Recording, load
from translation.world import of

THREADS = 8
SEALS = {"signature", "thoughtSignature", "thought_signature", "encrypted_content"}
NATIVE = {"toolCall", "toolResponse", "executableCode", "codeExecutionResult", "tool_call", "tool_response"}
"""What a provider's own tools did, whose seals travel with it: `test_server_tools.py`."""


def seals(value, found: list[str]) -> list[str]:
    """Those in an answer, or in a request."""
    if isinstance(value, list):
        for item in value:
            seals(item, found)
    elif isinstance(value, dict) and not NATIVE & value.keys() and not str(value.get("type")).endswith(("_tool_result", "_tool_use")):
        if value.get("type") == "redacted_thinking":
            found.append(value["data"])
        for name, inner in value.items():
            if name in SEALS and isinstance(inner, str) and inner:
                found.append(base64(inner))
            else:
                seals(inner, found)
    return found


def given(recording: Recording, client: str) -> list[str]:
    """The seals of an answer that this client has a place for."""
    events = recording.events
    if recording.format == "openai-responses" and recording.streams:
        # They grow on the way: a translated item has what it ended with, the provider's own client what the answer did.
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        events = events[-1:] if client == recording.format else done
    if recording.format == "gemini" and client == "openai-chat":
        # https://ai.google.dev/gemini-api/docs/thought-signatures: Google's own place in this format is on calls, and
        # only theirs have to come back.
        parts = [part for event in events for part in event["candidates"][0].get("content", {}).get("parts", [])]
        events = [part for part in parts if "functionCall" in part]
    return seals(events, [])


def sealed(format: str, client: str) -> list[Recording]:
    """Answers with seals."""
    ordinary = (one for one in load(format) if one.status == 200 and not one.expected["error"] and "partialArgs" not in one.expected["native"])
    return [recording for recording in ordinary if given(recording, client)]


def prompt(recording: Recording) -> str:
    return f"answer as in recording {recording.id}"


def again(recording: Recording, client: str) -> str:
    return f"go on, {client}, after recording {recording.id}"


@pytest.fixture(scope="module")
def conversing(translating, upstream_process):
    all_sealed = [recording for format in FORMATS for recording in sealed(format, format)]
    rules = [{"match": {"body": prompt(recording)}, "default": {"reply": recording.reply}} for recording in all_sealed]
    follow = {"match": {"body": "go on, "}, "default": {}}
    upstream_process.rules([follow, *rules])
    return Conversing(translating.url, KEY)


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("upstream", FORMATS)
def test_seals_come_home(conversing, upstream_process, upstream, client):
    recordings = sealed(upstream, client)

    def converse(recording: Recording) -> str:
        try:
            conversing.converse(client, f"{of(upstream)}/some-model", prompt(recording), again(recording, client), recording.streams)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the conversation did not go on
            return f"{type(error).__name__}: {str(error)[:300]}"
        return ""

    with ThreadPoolExecutor(THREADS) as pool:
        failures = dict(zip((one.id for one in recordings), pool.map(converse, recordings)))
    wrong = [f"{id}: {failure}" for id, failure in failures.items() if failure]
    received = upstream_process.received()
    for recording in recordings:
        second = [call for call in received if again(recording, client).encode() in call.body]
        wanted, got = given(recording, client), seals([call.json for call in second], [])
        lost, strange = ([seal for seal in some if seal not in others] for some, others in ((wanted, got), (got, wanted)))
        if lost or strange:
            wrong.append(f"{recording.id}: {len(lost)} of {len(wanted)} lost, {len(strange)} strange: {str(lost + strange)[:200]}")
    upstream_process.forget()
    assert recordings
    assert not wrong, f"{len(wrong)} of {len(recordings)}:\n" + "\n".join(wrong)
