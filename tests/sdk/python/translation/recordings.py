"""Recorded provider traffic, and what a reader must find in it (see the README of the recordings).

What the recordings say was worked out by others from the providers' own bytes. Nothing here asks Tollgate's code.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib

FORMATS = ("openai-chat", "openai-responses", "anthropic-messages", "gemini")
"""The formats between which everything is translated; each has a file of recordings of this name."""


@functools.cache
def folder() -> pathlib.Path | None:
    """Where the recordings are: `TOLLGATE_RECORDINGS`, or `shared/recordings` beside a folder above this one."""
    if named := os.environ.get("TOLLGATE_RECORDINGS"):
        return pathlib.Path(named)
    beside = (above / "shared" / "recordings" for above in pathlib.Path(__file__).resolve().parents)
    return next((found for found in beside if found.is_dir()), None)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a tool."""

    id: str
    name: str
    args: object


class Recording:
    """One exchange."""

    def __init__(self, line: dict):
        self.id = line["id"]
        self.format = line["api"]
        self.provider = line["provider"]
        self.status = line["response"]["status"]
        self.streams = bool(line["has_stream"])
        self.expected = line["expected"] or {}
        self.usage = line["usage"]
        self.path = line["request"] and line["request"]["path"]
        self._request = line["request"] and line["request"]["body"]["text"]
        self._answer = line["response"]["body"]["text"]
        self._headers = {name.lower(): value for name, value in dict(line["response"]["headers"]).items()}

    @property
    def request(self) -> dict | None:
        """The request's body, where it was kept and is JSON."""
        try:
            body = json.loads(self._request or "")
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    @property
    def answer(self) -> dict:
        """The body of an answer that is not streamed."""
        return json.loads(self._answer)

    @property
    def events(self) -> list[dict]:
        """The answer's body, or all that a stream says."""
        if self._answer.lstrip().startswith("["):
            return json.loads(self._answer)
        if not self.streams:
            return [self.answer]
        data = (line[5:].strip() for line in self._answer.splitlines() if line.startswith("data:"))
        return [json.loads(event) for event in data if event != "[DONE]"]

    @property
    def reply(self) -> dict:
        """The answer as the scripted upstream gives it."""
        kind, body = self._headers.get("content-type"), self._answer
        if self.streams and body.lstrip().startswith("["):
            # Gemini's other way to stream. Tollgate asks for events, and gets them.
            kind, body = None, "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in json.loads(body))
        kind = kind or ("text/event-stream" if self.streams else "application/json")
        return {"raw": {"status": self.status, "headers": [["content-type", kind]], "body": {"text": body}}}

    @property
    def calls(self) -> list[Call]:
        """The calls of tools. Some providers send an empty one with every answer."""
        told = [Call(call["id"] or "", call["name"] or "", call["args"]) for call in self.expected["tool_calls"]]
        return [call for call in told if call.id or call.name or "partialArgs" in self.expected["native"]]

    @property
    def whole_calls(self) -> list[Call]:
        """The same for the other formats: arguments that Gemini told piece by piece put together, and custom calls,
        which are apart in Responses and are calls with one text as input elsewhere."""
        if "custom_tool_call" in self.expected["native"]:
            custom = [item for item in self.answer["output"] if item["type"] == "custom_tool_call"]
            return self.calls + [Call(item["call_id"], item["name"], {"input": item["input"]}) for item in custom]
        if "partialArgs" not in self.expected["native"]:
            return self.calls
        parts = [part for chunk in self.events for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
        return assembled(part["functionCall"] for part in parts if "functionCall" in part)

    @property
    def cited(self) -> set[str]:
        """Addresses that the text rests on, wherever the answer says so."""
        return {url for event in self.events for url in addresses(event)}

    def is_text(self, text: str) -> bool:
        """Whether this is the text that was recorded."""
        return self._is("text", text)

    def is_thinking(self, text: str) -> bool:
        """The same of the reasoning. Formats cut it into blocks differently, so blank space does not count."""
        if self.expected["thinking"] is None:
            return self._is("thinking", text)
        return "".join(text.split()) == "".join(self.expected["thinking"].split())

    def _is(self, what: str, text: str) -> bool:
        if self.expected[what] is not None:
            return text == self.expected[what]
        return hashlib.sha256(text.encode()).hexdigest() == self.expected[f"{what}_sha256"]


def addresses(value):
    """The addresses of Anthropic's citations and of Gemini's grounding."""
    if isinstance(value, list):
        for item in value:
            yield from addresses(item)
    elif isinstance(value, dict):
        if value.get("type") in ("web_search_result_location", "url_citation"):
            yield value["url"]
        if "web" in value and "uri" in value["web"]:
            yield value["web"]["uri"]
        for item in value.values():
            yield from addresses(item)


@functools.cache
def load(name: str) -> list[Recording]:
    """The recordings of one format."""
    with open(folder() / f"{name}.jsonl", encoding="utf-8") as lines:
        return [Recording(json.loads(line)) for line in lines if line.strip()]


def assembled(pieces) -> list[Call]:
    """Calls whose arguments come as `partialArgs`: a JSON path and a value each, texts in pieces."""
    calls: list[Call] = []
    for piece in pieces:
        if piece.get("name"):
            calls.append(Call(piece.get("id") or "", piece["name"], dict(piece.get("args") or {})))
        for partial in piece.get("partialArgs", []):
            put(calls[-1].args, steps(partial["jsonPath"]), partial)
    return calls


def steps(path: str) -> list[str | int]:
    """`$.a.b[0]` as `["a", "b", 0]`."""
    names = path.removeprefix("$").replace("[", ".[").split(".")
    return [int(name[1:-1]) if name.startswith("[") else name for name in names if name]


def put(tree, path: list[str | int], partial: dict):
    """Sets or lengthens the value at a path, making what is on the way."""
    for step, following in zip(path, path[1:]):
        child = grown(tree, step)
        tree = child if child is not None else place(tree, step, [] if isinstance(following, int) else {})
    step = path[-1]
    if "stringValue" in partial:
        place(tree, step, (grown(tree, step) or "") + partial["stringValue"])
    else:
        kind = next(kind for kind in ("numberValue", "boolValue", "nullValue") if kind in partial)
        place(tree, step, None if kind == "nullValue" else partial[kind])


def grown(tree, step):
    """What is at a step so far; lists are made long enough."""
    if isinstance(tree, list):
        tree.extend([None] * (step + 1 - len(tree)))
        return tree[step]
    return tree.get(step)


def place(tree, step, value):
    grown(tree, step)
    tree[step] = value
    return value
