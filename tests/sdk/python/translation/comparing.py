"""Whether an answer says what the recording says, as far as the client's format has a place for it."""

import dataclasses

from .recordings import FORMATS, Call, Recording
from .said import Said

# What a client's format has no field for, by its documentation.
UNSAID = {
    # https://ai.google.dev/api/generate-content#UsageMetadata: `cachedContentTokenCount` only, which are those read.
    "gemini": {"cache_write"},
}
# https://docs.anthropic.com/en/api/messages and https://platform.openai.com/docs/api-reference/responses: one answer.
ONE_ANSWER = {"anthropic-messages", "openai-responses"}


def differences(recording: Recording, client: str, said: Said) -> list[str]:
    """What is not as recorded, one line each, with the name of the field first."""
    same = client == recording.format
    wrong = [f"grammar: {fault}" for fault in said.faults if not same]
    if not recording.is_text(said.text):
        wrong.append(f"text: {said.text[:120]!r}, recorded {recording.expected['text']!r:.120}")
    if not recording.is_thinking(said.thinking):
        wrong.append(f"thinking: {said.thinking[:120]!r}, recorded {recording.expected['thinking']!r:.120}")
    if said.refusal != (recording.expected["refusal"] or ""):
        wrong.append(f"refusal: {said.refusal!r}")
    wrong += call_differences(recording.calls if same else recording.whole_calls, said.calls, client)
    stops = expected_stops(recording, client, bool(said.calls))
    if stops is not None and said.stop not in stops:
        wrong.append(f"stop: {said.stop!r}, recorded {recording.expected['stop']} ({recording.expected['stop_raw']})")
    if set(said.cited) != recording.cited:
        wrong.append(f"citations: {sorted(set(said.cited))!r:.200}, recorded {sorted(recording.cited)!r:.200}")
    choices = 1 if client in ONE_ANSWER else recording.expected["choices"]
    if said.choices != choices:
        wrong.append(f"choices: {said.choices}, recorded {choices}")
    return wrong + (raw_usage_differences(recording, said) if same else usage_differences(recording, client, said))


def call_differences(recorded: list[Call], said: list[Call], client: str) -> list[str]:
    if [(call.name, call.args) for call in recorded] != [(call.name, call.args) for call in said]:
        return [f"tool calls: {said!r:.300}, recorded {recorded!r:.300}"]
    wrong = [f"tool id: {b.id!r}, recorded {a.id!r}" for a, b in zip(recorded, said) if a.id and a.id != b.id]
    # Gemini's may be without; the others find the results by them.
    if client != "gemini" and any(not call.id for call in said if call.name) and all(call.id for call in recorded):
        wrong.append("tool id: empty")
    if client != "gemini" and len({call.id for call in said}) != len(said) and len({call.id for call in recorded}) == len(recorded):
        wrong.append("tool id: two are the same")
    return wrong


def expected_stops(recording: Recording, client: str, has_calls: bool) -> set[str] | None:
    """By the table of stop reasons; `None`: the recording does not say."""
    stop = recording.expected["stop"]
    if client == recording.format:
        return None if stop in (None, "other") else {stop}
    # In these formats a call of a tool is told by its being there.
    if client in ("openai-responses", "gemini") and has_calls and stop in ("stop", "tool", None, "other"):
        return {"tool"}
    if stop == "pause" and client != "anthropic-messages":
        return {"stop"}
    if stop == "other" and recording.expected["stop_raw"] == "complete":
        return {"stop"}
    # OpenAI says `stop` after a call that the request demanded by name.
    if stop == "stop" and has_calls:
        return {"stop", "tool"}
    if stop in (None, "other"):
        return {"tool", "other"} if has_calls else {"stop", "other"} if stop is None else {"other", "filter"}
    return {stop}


def usage_differences(recording: Recording, client: str, said: Said) -> list[str]:
    if recording.usage is None:
        return []
    names = ("input", "cached", "cache_write", "output", "reasoning")
    wanted = {name: recording.usage[name] or 0 for name in names if name not in UNSAID.get(client, ())}
    got = said.usage and {name: said.usage[name] for name in wanted}
    return [] if got == wanted else [f"usage: {got}, recorded {wanted}"]


def raw_usage_differences(recording: Recording, said: Said) -> list[str]:
    """In the provider's own format its object must arrive."""
    raw = (recording.usage or {}).get("raw") or {}
    lost = [name for name, count in raw.items() if type(count) is int and said.raw_usage.get(name) not in (count, None)]
    return [f"usage: {name} is {said.raw_usage.get(name)}, recorded {raw[name]}" for name in lost]


@dataclasses.dataclass
class Rate:
    """How many of a pair are as they should be."""

    wrong: int
    listed: int
    """Those that are only so far right as `deviations.toml` lists what they lack."""
    all: int

    def __str__(self) -> str:
        listed = f" ({self.listed} listed)" if self.listed else ""
        return f"{self.all - self.wrong}/{self.all} {100 * (self.all - self.wrong) / self.all:.1f}%{listed}"


def table(title: str, rates: dict[tuple[str, str], Rate], down: str, across: str) -> str:
    """Rates by pair."""
    lines = [f"{title} ({down} down, {across} across)", f"{'':20}" + "".join(f"{name:>28}" for name in FORMATS)]
    for row in FORMATS:
        lines.append(f"{row:20}" + "".join(f"{rates.get((row, column), '')!s:>28}" for column in FORMATS))
    return "\n".join(lines)
