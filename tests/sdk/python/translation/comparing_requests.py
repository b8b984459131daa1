"""Whether an upstream was asked what the client asked, as far as the upstream's format has a place for it."""

import dataclasses

from .plain import Item, Plain, unwrapped

MEDIA = ("image", "audio", "video", "document", "media")
SIMPLE = ("temperature", "top_p", "top_k", "stop", "response", "choices", "seed", "logprobs", "user", "verbosity", "stream", "parallel")


def differences(asked: Plain, told: Plain, target: str) -> list[str]:
    """What is not as the client asked, one line each, with its kind first."""
    wrong = [f"{name}: {getattr(told, name)!r:.200}, asked {getattr(asked, name)!r:.200}" for name in SIMPLE if lost(asked, told, name)]
    wrong += [f"contradiction: {fault}" for fault in told.faults if not asked.faults]
    wrong += [
        f"MIME type: {told.mimes[data]}, asked {mime}" for data, mime in asked.mimes.items() if told.mimes.get(data, mime) != mime
    ]
    wrong += min((spoken_differences(way, told, target) for way in ways(asked)), key=len)
    wrong += tool_differences(asked, told, target)
    wrong += [f"hosted tool {name}: not declared" for name in asked.hosted if name not in told.hosted]
    wrong += [f"hosted tool {name}: invented" for name in told.hosted if name not in asked.hosted]
    # Without tools there is nothing to choose from.
    if chosen(asked, told.tools) != chosen(told, told.tools) and (asked.tools or asked.hosted or told.tool_choice != ("auto",)):
        wrong.append(f"tool choice: {told.tool_choice}, asked {asked.tool_choice}")
    # One format wants a bound even where the client gives none.
    if asked.max_tokens != told.max_tokens and not (target == "anthropic-messages" and asked.max_tokens is None and told.max_tokens > 0):
        wrong.append(f"max tokens: {told.max_tokens}, asked {asked.max_tokens}")
    if not same_effort(asked.effort, told.effort):
        wrong.append(f"effort: {told.effort}, asked {asked.effort}")
    if squeezed(asked.thinking) != squeezed(told.thinking):
        wrong.append(f"thinking: {told.thinking!r:.200}, asked {asked.thinking!r:.200}")
    return wrong


def chosen(plain: Plain, declared: dict) -> tuple:
    """To allow all tools is to allow any."""
    how, *names = plain.tool_choice
    return (how,) if len(names) > 1 and set(names) == set(declared) else plain.tool_choice


def ways(asked: Plain) -> list[Plain]:
    """Instructions in the course of a conversation can be told where they stood, at its beginning, or by the user's mouth."""
    late = [item.value for item in asked.items if item.role == "system"]
    if not late and asked.items:
        return [asked]
    said = [item for item in asked.items if item.role != "system"]
    by_user = [Item("user", item.kind, item.value) if item.role == "system" else item for item in asked.items]
    at_top = dataclasses.replace(asked, system=asked.system + late, items=said)
    # Who only instructs has to say something to be answered.
    last = dataclasses.replace(asked, system=asked.system[:-1], items=[Item("user", "text", text) for text in asked.system[-1:]])
    return [asked, at_top, dataclasses.replace(asked, items=by_user)] if asked.items else [asked, last]


def spoken_differences(asked: Plain, told: Plain, target: str) -> list[str]:
    """Of all that is said, instructions included."""
    wrong = [f"system: {told.system!r:.300}, asked {asked.system!r:.300}"] if squeezed(asked.system) != squeezed(told.system) else []
    return wrong + item_differences(asked, told, target)


def lost(asked: Plain, told: Plain, name: str) -> bool:
    return getattr(asked, name) != getattr(told, name)


def squeezed(texts: list[str]) -> str:
    """Formats join texts differently, so blank space does not count."""
    return "".join("".join(texts).split())


def same_effort(asked: str | None, told: str | None) -> bool:
    """Not every format can say that it shall be thought without saying how much."""
    if "any" in (asked, told):
        return "none" not in (asked, told)
    return asked == told or ("on" in (asked, told) and None not in (asked, told) and "none" not in (asked, told))


def item_differences(asked: Plain, told: Plain, target: str) -> list[str]:
    wrong = [f"native {item.value.get('type') or next(iter(item.value))}: not told" for item in asked.items if item.kind == "native"]
    wrong += [f"native {item.value}: invented" for item in told.items if item.kind == "native"]
    # Where a tool answers with media that its result has no place for, they come beside it: then the order of media counts alone.
    moved = any(media_of_result(item) for item in asked.items)
    ours, theirs = ([shown(item, moved) for item in plain.items if item.kind != "native"] for plain in (asked, told))
    ours, theirs = merged(ours), merged(theirs)
    if ours != theirs:
        at = next((at for at, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        wrong.append(f"conversation: item {at} is {theirs[at : at + 2]!r:.300}, asked {ours[at : at + 2]!r:.300}")
    ours, theirs = all_media(asked), all_media(told)
    if [value for _, value in ours] != [value for _, value in theirs]:
        wrong.append(f"media: {theirs!r:.200}, asked {ours!r:.200}")
    elif any(a != b and "media" not in (a, b) for (a, _), (b, _) in zip(ours, theirs)):
        wrong.append(f"kind of media: {[kind for kind, _ in theirs]}, asked {[kind for kind, _ in ours]}")
    if target in ("anthropic-messages", "gemini") and [True for r in errors(asked) if r] != [True for r in errors(told) if r]:
        wrong.append(f"errors of tools: {errors(told)}, asked {errors(asked)}")
    return wrong


def errors(plain: Plain) -> list:
    return [item.value[2] for item in plain.items if item.kind == "result"]


def media_of_result(item: Item) -> list:
    content = item.value[1] if item.kind == "result" else None
    return [part for part in content if isinstance(part, tuple) and part[0] in MEDIA] if isinstance(content, list) else []


def all_media(plain: Plain) -> list:
    found = [((item.kind, item.value),) if item.kind in MEDIA else media_of_result(item) for item in plain.items]
    return [medium for media in found for medium in media]


def shown(item: Item, without_media: bool) -> tuple | None:
    """An item as it is compared."""
    if item.kind == "result":
        number, content, _ = item.value
        if isinstance(content, list) and any(isinstance(part, tuple) for part in content):
            content = [part for part in content if not isinstance(part, tuple)]
            content = unwrapped(content[0] if len(content) == 1 else "".join(str(part) for part in content))
        return ("result", number, content)
    if item.kind in MEDIA and without_media:
        return None
    value = "".join(item.value.split()) if item.kind == "text" else item.value
    return (item.role, "media" if item.kind in MEDIA else item.kind, value)


def merged(items: list) -> list:
    """Texts that stand side by side after all else was taken out are one."""
    kept: list = []
    for item in filter(None, items):
        if kept and item[1] == "text" and kept[-1][:2] == item[:2]:
            kept[-1] = (*item[:2], kept[-1][2] + item[2])
        else:
            kept.append(item)
    return kept


def allowed(asked: Plain) -> dict:
    """The tools that may be called. Not to declare the others says the same."""
    names = asked.tool_choice[1:]
    return {name: tool for name, tool in asked.tools.items() if name in names or not names}


def tool_differences(asked: Plain, told: Plain, target: str) -> list[str]:
    tools = allowed(asked) if set(told.tools) == set(allowed(asked)) else asked.tools
    if set(tools) != set(told.tools):
        return [f"tools: {list(told.tools)}, asked {list(tools)}"]
    wrong = []
    for name, tool in tools.items():
        other = told.tools[name]
        if tool.description != other.description:
            wrong.append(f"tool description: {name}: {other.description!r:.200}, asked {tool.description!r:.200}")
        if tool.schema != other.schema:
            wrong.append(f"tool schema: {name}: {other.schema!r:.500}, asked {tool.schema!r:.500}")
        if tool.strict is not None and tool.strict != other.strict and (target != "gemini" and (tool.strict, other.strict) != (True, None)):
            wrong.append(f"strict: {name}: {other.strict}, asked {tool.strict}")
    return wrong
