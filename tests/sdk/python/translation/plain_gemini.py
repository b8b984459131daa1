"""Requests of Gemini, read by <https://ai.google.dev/api/generate-content>. Google reads names in both spellings."""

import dataclasses

from .plain import Plain, Tool, effort_of_budget, effort_of_word, schema, tool_schema, top_p, unwrapped


def field(value: dict | None, name: str):
    """A member by its name in camel case, in whichever spelling it has."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return (value or {}).get(name, (value or {}).get(snake))


def generate(body: dict, path: str) -> Plain:
    plain, ids = Plain(), {}
    system = field(body, "systemInstruction") or {}
    plain.system = [part["text"] for part in system.get("parts") or [] if "text" in part]
    for turn in body["contents"]:
        for part in turn.get("parts") or []:
            read_part(plain, ids, "assistant" if turn.get("role") == "model" else "user", part)
    for tool in body.get("tools") or []:
        read_tool(plain, tool)
    calling = field(field(body, "toolConfig"), "functionCallingConfig") or {}
    plain.tool_choice = choice(calling)
    if calling.get("mode") == "VALIDATED":
        # All calls keep to their schemas; how narrow a schema must be for that, each format says for itself.
        plain.tools = {name: dataclasses.replace(tool, strict=None) for name, tool in plain.tools.items()}
    config = field(body, "generationConfig") or {}
    plain.max_tokens, plain.temperature = field(config, "maxOutputTokens"), config.get("temperature")
    plain.top_p, plain.top_k = top_p(field(config, "topP")), field(config, "topK")
    plain.stop = field(config, "stopSequences") or []
    plain.response = response(config)
    plain.effort = effort(field(config, "thinkingConfig") or {})
    plain.choices = field(config, "candidateCount") or 1
    plain.seed = config.get("seed")
    plain.logprobs = (config.get("logprobs") or 0) if field(config, "responseLogprobs") else None
    plain.stream = "streamGenerateContent" in path
    plain.model = path.split("/models/")[-1].split(":")[0]
    return plain


def camel(shape):
    """A `Schema`, which may be spelled both ways too; its properties are the client's own."""
    if isinstance(shape, list):
        return [camel(item) for item in shape]
    if not isinstance(shape, dict):
        return shape
    spelled = {"any_of": "anyOf", "property_ordering": "propertyOrdering", "min_items": "minItems", "max_items": "maxItems"}
    inner = {name: {key: camel(one) for key, one in value.items()} if name == "properties" else value for name, value in shape.items()}
    return {spelled.get(name, name): value if name == "properties" else camel(value) for name, value in inner.items()}


def response(config: dict) -> tuple | None:
    shape = field(config, "responseJsonSchema") or camel(field(config, "responseSchema"))
    if shape:
        return ("schema", schema(shape))
    return ("json",) if field(config, "responseMimeType") == "application/json" else None


def effort(thinking: dict) -> str | None:
    level, budget = field(thinking, "thinkingLevel"), field(thinking, "thinkingBudget")
    if level:
        return effort_of_word(level)
    if budget is not None:
        return effort_of_budget(budget)
    return "any" if field(thinking, "includeThoughts") else None


def choice(config: dict) -> tuple:
    words = {"ANY": "required", "NONE": "none"}
    return (words.get((config.get("mode") or "AUTO").upper(), "auto"), *sorted(field(config, "allowedFunctionNames") or []))


def read_part(plain: Plain, ids: dict, role: str, part: dict):
    if part.get("thought"):
        plain.thinking += [part["text"]] if part.get("text") else []
    elif "text" in part:
        plain.say(role, "text", part["text"])
    elif call := field(part, "functionCall"):
        plain.call(ids, call.get("id") or call["name"], call["name"], call.get("args") or {})
    elif result := field(part, "functionResponse"):
        said = field(result, "response")
        is_error = True if isinstance(said, dict) and "error" in said else None
        media = [medium(plain, inner) for inner in result.get("parts") or []]
        content = unwrapped(said)
        plain.result(ids, result.get("id") or result["name"], [content, *media] if media else content, is_error, result["name"])
    elif field(part, "inlineData") or field(part, "fileData"):
        plain.say(role, *medium(plain, part))
    elif native := {name: value for name, value in part.items() if name not in ("thoughtSignature", "thought_signature")}:
        plain.say(role, "native", native)


def medium(plain: Plain, part: dict) -> tuple[str, str]:
    if blob := field(part, "inlineData"):
        return plain.inline(blob["data"], field(blob, "mimeType"))
    file = field(part, "fileData")
    mime = field(file, "mimeType") or ""
    kind = mime.split("/")[0]
    return kind if kind in ("image", "audio", "video") else "document" if mime else "media", field(file, "fileUri")


def read_tool(plain: Plain, tool: dict):
    for function in field(tool, "functionDeclarations") or []:
        shape = field(function, "parametersJsonSchema") or camel(function.get("parameters"))
        plain.tools[function["name"]] = Tool(function.get("description") or "", tool_schema(shape))
    hosted = {"googleSearch": "web_search", "codeExecution": "code_execution", "urlContext": "web_fetch", "fileSearch": "file_search"}
    plain.hosted += [name for known, name in hosted.items() if field(tool, known) is not None]
