"""A request in a form that belongs to no format: what a person would say that it asks.

The readers of the formats (`plain_*.py`) put both what the client sent and what the upstream got into this form, so that
two requests are compared by their meaning. They share nothing with Tollgate's decoders.
"""

import dataclasses
import json
from base64 import b64decode


@dataclasses.dataclass
class Item:
    """One thing said in the conversation."""

    role: str
    """`user` (who also brings the results of tools), `assistant`, or `system` for instructions that come later."""
    kind: str
    """`text`, `image`, `audio`, `video`, `document`, `call`, `result`, `native`."""
    value: object


@dataclasses.dataclass
class Tool:
    """A tool that the client runs."""

    description: str
    schema: object
    strict: bool | None = False
    """`None`: strict if the schema allows it."""


FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""The schema of a tool that takes a text, where a format has none of that kind."""


@dataclasses.dataclass
class Plain:
    """A request."""

    system: list[str] = dataclasses.field(default_factory=list)
    items: list[Item] = dataclasses.field(default_factory=list)
    thinking: list[str] = dataclasses.field(default_factory=list)
    mimes: dict[str, str] = dataclasses.field(default_factory=dict)
    """Of media, where it is said."""
    faults: list[str] = dataclasses.field(default_factory=list)
    """What contradicts itself."""
    model: str | None = None
    tools: dict[str, Tool] = dataclasses.field(default_factory=dict)
    hosted: list[str] = dataclasses.field(default_factory=list)
    tool_choice: tuple = ("auto",)
    parallel: bool = True
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    stop: list[str] = dataclasses.field(default_factory=list)
    response: tuple | None = None
    """`("json",)` or `("schema", SCHEMA)`."""
    effort: str | None = None
    """`none`, `low`, `medium`, `high`; `on` where it only is to think; `any` where the model is to decide."""
    choices: int = 1
    seed: int | None = None
    logprobs: int | None = None
    user: str | None = None
    verbosity: str | None = None
    stream: bool = False

    def instruct(self, text: str):
        """Instructions stand before the conversation, except those that come in its course."""
        if self.items:
            self.say("system", "text", text)
        else:
            self.system.append(text)

    def say(self, role: str, kind: str, value):
        """Adds to the conversation. Texts of one speaker in a row are one text: formats cut them differently."""
        last = self.items[-1] if self.items else None
        if kind == "text" and last and (last.role, last.kind) == (role, "text"):
            last.value += value
        elif kind != "text" or value:
            self.items.append(Item(role, kind, value))

    def call(self, ids: dict, id: str | None, name: str, args):
        """A call of a tool. Ids are translated to the order of the calls: what counts is which result is whose."""
        ids.setdefault(id, []).append(sum(item.kind == "call" for item in self.items))
        self.say("assistant", "call", (name, args))

    def result(self, ids: dict, id: str | None, content, is_error: bool | None = None, name: str | None = None):
        """What a tool said: `content` is its JSON or text, or a list of those and media."""
        waiting = ids.get(id)
        number = waiting.pop(0) if waiting else None
        called = [item.value[0] for item in self.items if item.kind == "call"]
        if name and number is not None and called[number] != name:
            self.faults.append(f"a result is said to be of {name}, but answers a call of {called[number]}")
        self.say("user", "result", (number, content, is_error))

    def at_url(self, url: str, kind: str) -> tuple[str, str]:
        """Media at a URL, which may be a data URL: then all that counts is the bytes, and it says itself what it is."""
        if not url.startswith("data:"):
            return kind, url
        head, data = url.removeprefix("data:").split(",", 1)
        return self.inline(data, head.split(";")[0])

    def inline(self, data: str, mime: str) -> tuple[str, str]:
        """Media in base64. A plain text is a text, which is how some formats have to be told it."""
        kind = mime.split("/")[0]
        if kind == "text":
            return "text", text_of_base64(data)
        self.mimes[base64(data)] = {"audio/mp3": "audio/mpeg", "audio/x-wav": "audio/wav"}.get(mime, mime)
        return kind if kind in ("image", "audio", "video") else "document" if mime else "media", base64(data)


def effort_of_budget(tokens: int) -> str:
    """Google's table for its OpenAI-compatible endpoint: low 1,024, medium 8,192, high 24,576."""
    if tokens < 0:
        return "on"
    return "none" if tokens == 0 else "low" if tokens <= 2048 else "medium" if tokens < 16384 else "high"


def effort_of_word(word: str) -> str:
    """There are finer words than all formats have."""
    return {"minimal": "low", "xhigh": "high", "max": "high"}.get(word.lower(), word.lower())


def top_p(value: float | None) -> float | None:
    """The whole of the probability is all of it, which is what everybody does where nothing is said."""
    return None if value == 1 else value


def read_json(text: str):
    """What a tool said may be JSON or just text."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return text


def unwrapped(value):
    """What a tool said without the wrapping that a format demands: Gemini wants an object."""
    value = read_json(value) if isinstance(value, str) else value
    if isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))) in ("output", "result", "error"):
        return unwrapped(value[name])
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return unwrapped(value[0])
    return value


def text_of_base64(data: str) -> str:
    spelled = base64(data)
    return b64decode(spelled + "=" * (-len(spelled) % 4)).decode()


def base64(data: str) -> str:
    """One spelling of both alphabets."""
    return data.replace("-", "+").replace("_", "/").rstrip("=")


def schema(value):
    """A schema without what formats may write or leave out without a change of its meaning."""
    if isinstance(value, list):
        return [schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, sub in value.items():
        if name in ("properties", "$defs", "definitions") and isinstance(sub, dict):
            kept[name] = {key: schema(child) for key, child in sub.items()}
        elif name == "type":
            kept[name] = sub.lower() if isinstance(sub, str) else [kind.lower() for kind in sub]
        elif name == "required":
            kept[name] = sorted(sub)
        elif name in ("enum", "const", "default", "example", "examples"):
            kept[name] = sub
        # The order of the members in the answer is Google's own matter.
        elif name in ("$schema", "propertyOrdering") or (name, sub) == ("additionalProperties", False) or (name, sub) == ("nullable", False):
            continue
        else:
            kept[name] = schema(sub)
    if kept.pop("nullable", False) and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    if kept.get("required") == [] or (kept.get("properties") == {} and kept.get("type") == "object"):
        kept.pop("required", None)
        kept.pop("properties", None) if kept.get("properties") == {} else None
    return kept


def tool_schema(value):
    """The schema of a tool; one that takes nothing may have none."""
    return schema(value) if value else {"type": "object"}
