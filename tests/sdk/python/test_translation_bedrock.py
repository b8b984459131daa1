"""Every recorded answer of Bedrock's Converse, given to each of the four clients: Bedrock is an upstream only.

Its streams are binary, and neither its streams nor its answers name themselves or their model. What five recordings list
otherwise than it is told is told on purpose, with the reason below.
"""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import anthropic_client
from conftest import KEY
from tollgate import Tollgate
from translation import comparing
from translation.asking import Asking
from translation.recordings import FORMATS, Recording, folder

THREADS = 8
CHUNKING = {"sizes": [5, 200, 3000]}

CITED = {"6a2216063822", "fcd00514193c"}
"""Their text stands in `citationsContent`, which whoever wrote down what to expect did not read."""

RUN_BY_BEDROCK = {"f9b9cdf4ba51", "e323a2344b96", "99cdee76ca27"}
"""Bedrock ran the tool itself (`server_tool_use`): listed as a call, which no client may be asked to answer."""


class Answered(Recording):
    """A recording whose body may be binary."""

    def __init__(self, line: dict):
        body = line["response"]["body"]
        self._body = body
        request = line["request"] and line["request"] | {"body": {"text": None}}
        super().__init__(line | {"request": request, "response": line["response"] | {"body": {"text": body.get("text", "")}}})

    @property
    def reply(self) -> dict:
        body = self._body if "b64" in self._body else {"b64": base64.b64encode(self._body["text"].encode()).decode()}
        return {"raw": {"status": self.status, "headers": [["content-type", self._headers["content-type"]]], "body": body}}

    @property
    def cited(self) -> set[str]:
        return set() if self.streams else set(pages(self.answer))


def pages(value):
    """Addresses of pages that are cited."""
    if isinstance(value, list):
        for item in value:
            yield from pages(item)
    elif isinstance(value, dict):
        if "url" in value.get("web", {}):
            yield value["web"]["url"]
        for item in value.values():
            yield from pages(item)


def answers() -> list[Answered]:
    with open(folder() / "bedrock-converse.jsonl", encoding="utf-8") as lines:
        recordings = [Answered(json.loads(line)) for line in lines if line.strip()]
    return [recording for recording in recordings if recording.status == 200]


def prompt(recording) -> str:
    return f"answer as in recording {recording.id}"


@pytest.fixture(scope="module")
def asking(upstream_process):
    upstream_process.rules(
        [{"match": {"body": prompt(it)}, "default": {"reply": it.reply, "chunking": CHUNKING}} for it in answers()]
    )
    config = f"""
defaults: {{retries: 0}}
upstreams:
  - name: aws
    provider: bedrock
    base_url: {upstream_process.url}
    variables: {{region: eu-west-1}}
    credentials: [{{name: k1, key: "AKIDEXAMPLE:secret"}}]
    breaker: off
    cooldown: off
    models: ["*"]
users: [{{name: alice}}]
keys: [{{name: alice-key, user: alice, key: {KEY}}}]
"""
    with Tollgate(config) as tollgate:
        yield Asking(tollgate.url, KEY)


def is_known(recording: Recording, line: str) -> bool:
    field = line.split(":")[0]
    return (recording.id in CITED and field == "text") or (recording.id in RUN_BY_BEDROCK and field in ("tool calls", "stop", "text"))


@pytest.mark.parametrize("client", FORMATS)
def test_answers_are_told_as_recorded(asking, client):
    def check(recording) -> list[str]:
        try:
            said = asking.ask(client, "aws/some-model", prompt(recording), recording.streams)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the recording was not told
            return [f"error: {type(error).__name__}: {str(error)[:200]}"]
        return [line for line in comparing.differences(recording, client, said) if not is_known(recording, line)]

    recordings = answers()
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip((recording.id for recording in recordings), pool.map(check, recordings)))
    wrong = [f"{id}: {line}" for id, lines in found.items() for line in lines]
    assert not wrong, "\n".join(wrong)
    assert len(recordings) > 30


def test_anthropics_sdk_reads_bedrocks_invoke_stream_as_its_own(upstream_process):
    """`InvokeModelWithResponseStream`: the recorded frames, and the request as Bedrock wants it."""
    with open(folder() / "bedrock-invoke.jsonl", encoding="utf-8") as lines:
        recorded = next(line for line in map(json.loads, lines) if "with-response-stream" in line["request"]["path"])
    request = json.loads(recorded["request"]["body"]["text"])
    headers = [["content-type", "application/vnd.amazon.eventstream"]]
    reply = {"raw": {"status": 200, "headers": headers, "body": recorded["response"]["body"]}}
    path = "/invoke-with-response-stream"
    upstream_process.rules([{"match": {"path": path}, "default": {"reply": reply, "chunking": CHUNKING}}])
    model = "anthropic.claude-3-5-sonnet-20240620-v1:0"
    config = f"""
upstreams:
  - name: aws
    provider: bedrock-anthropic
    base_url: {upstream_process.url}
    variables: {{region: eu-west-1}}
    credentials: [{{name: k1, key: bedrock-api-key}}]
    models: ["{model}"]
users: [{{name: alice}}]
keys: [{{name: k, user: alice, key: {KEY}}}]
"""
    sent = {name: value for name, value in request.items() if name != "anthropic_version"}
    with Tollgate(config) as gateway:
        with anthropic_client(gateway.url, KEY).messages.stream(model=model, **sent) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
    assert text and final.stop_reason == "tool_use" and final.content[-1].input
    assert (final.usage.input_tokens, final.usage.output_tokens) == (702, 130)
    asked = upstream_process.only_call()
    assert asked.target.endswith(path) and asked.json == request
