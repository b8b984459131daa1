"""What the official SDKs say of an answer, read from their objects into one plain form.

Written from the SDKs' documentation and the table of the wire's traps, without a look at Tollgate's own decoders: a
reader that shared their mistakes would find none.
"""

import dataclasses
import json
from collections.abc import Iterable

from openai import LengthFinishReasonError
from openai.lib.streaming.chat import ChatCompletionStreamState

from .recordings import Call


@dataclasses.dataclass
class Said:
    """An answer; of several, the first."""

    text: str = ""
    thinking: str = ""
    refusal: str = ""
    calls: list[Call] = dataclasses.field(default_factory=list)
    stop: str | None = None
    usage: dict[str, int] | None = None
    raw_usage: dict = dataclasses.field(default_factory=dict)
    choices: int = 1
    cited: list[str] = dataclasses.field(default_factory=list)
    """Addresses that the text rests on."""
    faults: list[str] = dataclasses.field(default_factory=list)
    """What is against the format's grammar, although the SDK did not mind."""


def arguments(text: str, faults: list[str]):
    """Arguments as JSON; some providers send nothing where they mean none."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        faults.append(f"arguments are no JSON: {text[:80]}")
        return text


def counts(total: int | None, **parts: int | None) -> dict[str, int]:
    return {"input": total or 0} | {name: count or 0 for name, count in parts.items()}


def extra(model, name: str):
    """A field that the SDK's type does not know."""
    return (model.model_extra or {}).get(name)


def dumped(model) -> dict:
    return model.model_dump(exclude_none=True) if model else {}


# --- Chat Completions -----------------------------------------------------------------------------------------------

CHAT_STOPS = {"stop": "stop", "length": "length", "tool_calls": "tool", "function_call": "tool", "content_filter": "filter"}


def chat(answer) -> Said:
    """A `ChatCompletion`."""
    choice = answer.choices[0]
    message = choice.message
    said = Said(choices=len(answer.choices), stop=CHAT_STOPS.get(choice.finish_reason, choice.finish_reason))
    said.text, said.thinking = content(message.content)
    said.thinking += extra(message, "reasoning_content") or extra(message, "reasoning") or ""
    said.refusal = message.refusal or ""
    said.cited = [note.url_citation.url for note in message.annotations or []]
    for call in message.tool_calls or []:
        if call.type == "custom":
            said.calls.append(Call(call.id, call.custom.name, {"input": call.custom.input}))
        else:
            said.calls.append(Call(call.id or "", call.function.name, arguments(call.function.arguments, said.faults)))
    if (legacy := message.function_call) and legacy.name:
        said.calls.append(Call("", legacy.name, arguments(legacy.arguments, said.faults)))
    chat_usage(answer.usage, said)
    return said


def content(parts) -> tuple[str, str]:
    """Text and reasoning; Mistral's content may be a list of both."""
    if not isinstance(parts, list):
        return parts or "", ""
    texts = "".join(part["text"] for part in parts if part["type"] == "text")
    return texts, "".join(content(part["thinking"])[0] for part in parts if part["type"] == "thinking")


def chat_stream(chunks: Iterable) -> Said:
    """The `ChatCompletionChunk`s of a stream."""
    said, calls, indexes, state = Said(), {}, set(), ChatCompletionStreamState()
    for chunk in chunks:
        put_together(state, chunk, said)
        if chunk.usage:
            chat_usage(chunk.usage, said)
        for choice in chunk.choices:
            indexes.add(choice.index)
            if choice.index == 0:
                chat_delta(choice, said, calls)
    said.calls = [Call(id, name, arguments(text, said.faults)) for id, name, text in calls.values()]
    said.choices = len(indexes)
    return said


def put_together(state: ChatCompletionStreamState, chunk, said: Said):
    """Hands a chunk to the SDK's own helper, which is stricter than its types."""
    try:
        state.handle_chunk(chunk)
    except LengthFinishReasonError:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it raises, it is a fault of the stream
        said.faults.append(f"the SDK's helper: {type(error).__name__}: {str(error)[:200]}")


def chat_delta(choice, said: Said, calls: dict[int, list[str]]):
    delta = choice.delta
    text, thinking = content(delta.content)
    said.text += text
    said.thinking += thinking + (extra(delta, "reasoning_content") or extra(delta, "reasoning") or "")
    said.refusal += delta.refusal or ""
    said.cited += [note["url_citation"]["url"] for note in extra(delta, "annotations") or []]
    for call in delta.tool_calls or []:
        function = call.function
        if call.index not in calls and not (call.id and function and function.name):
            said.faults.append(f"the first delta of tool call {call.index} lacks its id or its name")
        known = calls.setdefault(call.index, ["", "", ""])
        if known[1] and function and function.name:
            said.faults.append(f"a later delta of tool call {call.index} names it again")
        known[0] = known[0] or call.id or ""
        known[1] = known[1] or (function and function.name) or ""
        known[2] += (function and function.arguments) or ""
    if choice.finish_reason:
        said.stop = CHAT_STOPS.get(choice.finish_reason, choice.finish_reason)


def chat_usage(usage, said: Said):
    if usage is None:
        return
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    said.raw_usage = dumped(usage)
    said.usage = counts(
        usage.prompt_tokens,
        cached=prompt and prompt.cached_tokens,
        cache_write=prompt and prompt.cache_write_tokens,
        output=usage.completion_tokens,
        reasoning=completion and completion.reasoning_tokens,
    )


# --- Responses ------------------------------------------------------------------------------------------------------

INCOMPLETE = {"max_output_tokens": "length", "content_filter": "filter"}


def responses(answer) -> Said:
    """A `Response`."""
    said = Said(text=answer.output_text)
    for item in answer.output:
        if item.type == "reasoning":
            texts = [part.text for part in item.content or []] or [part.text for part in item.summary or []]
            said.thinking += "".join(texts)
        elif item.type == "function_call":
            said.calls.append(Call(item.call_id or "", item.name, arguments(item.arguments, said.faults)))
        elif item.type == "message":
            said.refusal += "".join(part.refusal for part in item.content if part.type == "refusal")
            notes = (note for part in item.content if part.type == "output_text" for note in part.annotations or [])
            said.cited += [note.url for note in notes if note.type == "url_citation"]
    why = answer.incomplete_details and answer.incomplete_details.reason
    finished = "tool" if said.calls else "filter" if said.refusal else "stop"
    said.stop = {"completed": finished, "incomplete": INCOMPLETE.get(why, why)}.get(answer.status, "other")
    if usage := answer.usage:
        read, written = usage.input_tokens_details, usage.output_tokens_details
        said.raw_usage = dumped(usage)
        said.usage = counts(
            usage.input_tokens,
            cached=read and read.cached_tokens,
            cache_write=read and getattr(read, "cache_write_tokens", 0),
            output=usage.output_tokens,
            reasoning=written and written.reasoning_tokens,
        )
    return said


def responses_stream(events: Iterable) -> Said:
    """The events of a stream: the response at the end, which must say what the deltas said."""
    events = list(events)
    last = events[-1]
    if last.type not in ("response.completed", "response.incomplete"):
        raise AssertionError(f"the stream ended with {last.type}")
    said = responses(last.response)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    if deltas != said.text:
        said.faults.append("the deltas of the text are not the text at the end")
    done = [item.item for item in events if item.type == "response.output_item.done"]
    if [item.type for item in done] != [item.type for item in last.response.output]:
        said.faults.append("the items done are not the items at the end")
    for item in (item for item in done if item.type == "function_call"):
        told = "".join(
            event.delta for event in events if event.type == "response.function_call_arguments.delta" and event.item_id == item.id
        )
        if told not in ("", item.arguments):
            said.faults.append("the deltas of the arguments are not the arguments at the end")
    numbers = [event.sequence_number for event in events]
    if numbers != sorted(numbers):
        said.faults.append("sequence numbers go back")
    return said


# --- Messages -------------------------------------------------------------------------------------------------------

ANTHROPIC_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "filter",
    "pause_turn": "pause",
}


def anthropic(answer) -> Said:
    """A `Message`."""
    said = Said(stop=ANTHROPIC_STOPS.get(answer.stop_reason, answer.stop_reason))
    for block in answer.content:
        if block.type == "text":
            said.text += block.text
            said.cited += [citation.url for citation in block.citations or [] if citation.type == "web_search_result_location"]
        elif block.type == "thinking":
            said.thinking += block.thinking
        elif block.type == "tool_use":
            said.calls.append(Call(block.id, block.name, block.input))
    usage = answer.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    said.raw_usage = dumped(usage)
    said.usage = counts(
        usage.input_tokens + read + written,
        cached=read,
        cache_write=written,
        output=usage.output_tokens,
        reasoning=details and details.thinking_tokens,
    )
    return said


def anthropic_stream(stream) -> Said:
    """A `MessageStream`: the message that it puts together, and the order of its events."""
    kinds, opened = [], []
    for event in stream:
        if event.type in ANTHROPIC_EVENTS:
            kinds.append(event.type)
        if event.type == "content_block_start":
            opened.append(event.index)
    said = anthropic(stream.get_final_message())
    if kinds[:1] != ["message_start"] or kinds[-2:] != ["message_delta", "message_stop"] or kinds.count("message_start") != 1:
        said.faults.append(f"events begin {kinds[:1]} and end {kinds[-2:]}")
    if opened != list(range(len(opened))):
        said.faults.append(f"blocks are numbered {opened}")
    return said


ANTHROPIC_EVENTS = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}

# --- Gemini ---------------------------------------------------------------------------------------------------------

GEMINI_STOPS = {"STOP": "stop", "MAX_TOKENS": "length"} | dict.fromkeys(
    ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), "filter"
)


def gemini(answer) -> Said:
    """A `GenerateContentResponse`."""
    return gemini_stream([answer])


def gemini_stream(chunks: Iterable) -> Said:
    """The `GenerateContentResponse`s of a stream; usage is told as it grows."""
    said, indexes = Said(), set()
    for chunk in chunks:
        for candidate in chunk.candidates or []:
            indexes.add(candidate.index or 0)
            if not candidate.index:
                gemini_candidate(candidate, said)
        if chunk.usage_metadata:
            gemini_usage(chunk.usage_metadata, said)
    if said.stop == "stop" and said.calls:
        said.stop = "tool"
    said.choices = len(indexes)
    return said


def gemini_candidate(candidate, said: Said):
    for part in (candidate.content and candidate.content.parts) or []:
        if part.text and part.thought:
            said.thinking += part.text
        elif part.text:
            said.text += part.text
        if call := part.function_call:
            said.calls.append(Call(call.id or "", call.name or "", call.args or {}))
    if grounding := candidate.grounding_metadata:
        said.cited += [chunk.web.uri for chunk in grounding.grounding_chunks or [] if chunk.web]
    if candidate.finish_reason:
        said.stop = GEMINI_STOPS.get(candidate.finish_reason.value, "other")


def gemini_usage(usage, said: Said):
    said.raw_usage = usage.model_dump(exclude_none=True, by_alias=True, mode="json")
    thoughts = usage.thoughts_token_count or 0
    prompt = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
    said.usage = counts(
        prompt, cached=usage.cached_content_token_count, output=(usage.candidates_token_count or 0) + thoughts, reasoning=thoughts
    )
