"""Whether a request is one by the types of the target's own SDK: a strict provider refuses members that it does not know.

The types are TypedDicts for OpenAI and Anthropic, and pydantic models for Gemini. pydantic itself would let members
pass that a TypedDict does not have, and does not look into iterables; so the few kinds of types are walked here.
"""

import functools
import json
import re
import types as python_types
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import pydantic
import typing_extensions
from anthropic.types import message_create_params
from google.genai import types as genai
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

PARAMS = {
    "openai-chat": completion_create_params.CompletionCreateParams,
    "openai-responses": response_create_params.ResponseCreateParams,
    "anthropic-messages": message_create_params.MessageCreateParams,
}

# Members that the API takes and documents (https://docs.anthropic.com/en/api/messages), although this SDK's types left
# them out: recorded requests have them.
UNTYPED = {"anthropic-messages": {"temperature", "top_p", "top_k"}}


# https://docs.anthropic.com/en/api/messages, https://platform.openai.com/docs/api-reference and
# https://ai.google.dev/api/caching#FunctionDeclaration: what ids and names are made of.
PATTERNS = {
    "openai-chat": {"name": r"[a-zA-Z0-9_-]{1,64}"},
    "openai-responses": {"name": r"[a-zA-Z0-9_-]{1,64}", "call_id": r".{1,64}"},
    "anthropic-messages": {"name": r"[a-zA-Z0-9_-]{1,128}", "id": r"[a-zA-Z0-9_-]+", "tool_use_id": r"[a-zA-Z0-9_-]+"},
    "gemini": {"name": r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"},
}
WITHOUT = {"parameters", "parametersJsonSchema", "input_schema", "schema", "input", "args", "response", "metadata"}
"""What is the client's own inside."""


def spelling(target: str, value, place: str = ""):
    """Ids and names that the provider refuses."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from spelling(target, item, f"{place}[{number}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            pattern = PATTERNS[target].get(name)
            if pattern and isinstance(inner, str) and not re.fullmatch(pattern, inner):
                yield f"{place}.{name} is {inner!r:.80}, not {pattern}"
            if name not in WITHOUT or (name == "input" and place == ""):
                yield from spelling(target, inner, f"{place}.{name}")


def faults(target: str, body: dict) -> list[str]:
    """What is against the types, or the spelling of ids and names."""
    return type_faults(target, body) + list(spelling(target, body))


def type_faults(target: str, body: dict) -> list[str]:
    if target == "gemini":
        return gemini_faults(body)
    branch = PARAMS[target].__args__[bool(body.get("stream"))]
    typed = {name: value for name, value in body.items() if name not in UNTYPED.get(target, ())}
    return list(walk(typed, branch, ""))


def walk(value, kind, place: str):
    """The faults of a value that should be of this type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if typing_extensions.is_typeddict(kind):
        yield from walk_members(value, kind, place)
    elif origin in (typing.Union, python_types.UnionType):
        yield from walk_union(value, arguments, place)
    elif origin is typing.Literal:
        yield from [] if value in arguments else [f"{place} is {value!r:.60}, not one of {arguments!r:.100}"]
    elif origin in (typing.Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        yield from walk(value, arguments[0], place)
    elif origin in (list, Iterable, Sequence) or "SequenceNotStr" in str(kind):
        if not isinstance(value, list):
            yield f"{place} is no list"
        else:
            for number, item in enumerate(value):
                yield from walk(item, (arguments or (str,))[0], f"{place}[{number}]")
    elif origin in (dict, Mapping) or kind in (dict, Mapping):
        yield from [] if isinstance(value, dict) else [f"{place} is no object"]
    elif not fits(value, kind):
        yield f"{place} is {value!r:.60}, not of {kind!r:.60}"


def walk_members(value, kind, place: str):
    if not isinstance(value, dict):
        yield f"{place} is no object"
        return
    members = hints(kind)
    for name in value.keys() - members.keys():
        yield f"{place}.{name} is unknown"
    for name in kind.__required_keys__ - value.keys():
        yield f"{place}.{name} is missing"
    for name in value.keys() & members.keys():
        yield from walk(value[name], members[name], f"{place}.{name}")


def walk_union(value, kinds, place: str):
    """The faults of the branch that fits best: one of another kind, `type` or `role` fits worst."""
    found = [list(walk(value, kind, place)) for kind in kinds]
    worst = (f"{place} is", f"{place}.type is", f"{place}.role is")
    if [] not in found:
        yield from min(found, key=lambda faults: (any(fault.startswith(worst) for fault in faults), len(faults)))


@functools.cache
def hints(kind) -> dict:
    """A TypedDict's members. Its module has names that only its type checker imports."""
    return typing_extensions.get_type_hints(kind)


def fits(value, kind) -> bool:
    if kind in (typing.Any, object):
        return True
    if kind in (None, type(None)):
        return value is None
    if kind is float:
        return type(value) in (int, float)
    if kind is datetime:
        return isinstance(value, str)
    return isinstance(kind, type) and type(value) is kind


# --- Gemini ---------------------------------------------------------------------------------------------------------

# <https://ai.google.dev/api/generate-content#request-body>
MEMBERS = {
    "contents": list[genai.Content],
    "systemInstruction": genai.Content,
    "tools": list[genai.Tool],
    "toolConfig": genai.ToolConfig,
    "safetySettings": list[genai.SafetySetting],
    "generationConfig": genai.GenerationConfig,
    "cachedContent": str,
    "labels": dict[str, str],
    "serviceTier": str,
}


@functools.cache
def adapter(name: str) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(MEMBERS[name])


def gemini_faults(body: dict) -> list[str]:
    found = [f".{name} is unknown" for name in body.keys() - MEMBERS.keys()]
    for name in body.keys() & MEMBERS.keys():
        try:
            adapter(name).validate_json(json.dumps(body[name]))
        except pydantic.ValidationError as error:
            found += [f".{name}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return found
