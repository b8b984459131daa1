"""Requests of Chat Completions and of Responses, read by their documentation."""

from .plain import FREE_TEXT, Plain, Tool, effort_of_budget, effort_of_word, read_json, schema, tool_schema, top_p, unwrapped


def chat(body: dict) -> Plain:
    """<https://platform.openai.com/docs/api-reference/chat/create>"""
    plain, ids = Plain(), {}
    for message in body["messages"]:
        chat_message(plain, ids, message)
    for tool in (body.get("tools") or []) + [{"type": "function", "function": function} for function in body.get("functions") or []]:
        function = tool.get("function") or tool["custom"]
        plain.tools[function["name"]] = read_tool(function, "custom" in tool, False)
    if body.get("web_search_options") is not None:
        plain.hosted.append("web_search")
    plain.tool_choice = choice(body.get("tool_choice") or body.get("function_call"))
    plain.response = response(body.get("response_format") or {}, "json_schema")
    shared(plain, body)
    plain.max_tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    plain.stop = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
    plain.effort = chat_effort(body)
    plain.choices = body.get("n") or 1
    plain.seed = body.get("seed")
    plain.verbosity = body.get("verbosity")
    plain.logprobs = (body.get("top_logprobs") or 0) if body.get("logprobs") else None
    return plain


def chat_effort(body: dict) -> str | None:
    """OpenAI's word, or what OpenRouter and Z.ai have instead."""
    router, thinking = body.get("reasoning") or {}, body.get("thinking") or {}
    word = body.get("reasoning_effort") or router.get("effort")
    if word:
        return effort_of_word(word)
    if router.get("max_tokens"):
        return effort_of_budget(router["max_tokens"])
    return {"enabled": "any", "disabled": "none"}.get(thinking.get("type"))


def chat_message(plain: Plain, ids: dict, message: dict):
    role, content = message["role"], message.get("content")
    if role in ("system", "developer"):
        plain.instruct(text_of(content))
    elif role in ("tool", "function"):
        plain.result(ids, message.get("tool_call_id") or message.get("name"), unwrapped(text_of(content)))
    else:
        thinking = message.get("reasoning_content") or message.get("reasoning")
        plain.thinking += [thinking] if thinking else []
        for part in [content] if isinstance(content, str) else content or []:
            chat_part(plain, role, part)
        if message.get("refusal"):
            plain.say(role, "text", message["refusal"])
        for call in message.get("tool_calls") or []:
            function = call.get("function") or call["custom"]
            plain.call(ids, call["id"], function["name"], call_arguments(function))
        if legacy := message.get("function_call"):
            plain.call(ids, legacy["name"], legacy["name"], read_json(legacy["arguments"]))


def chat_part(plain: Plain, role: str, part):
    kind = "text" if isinstance(part, str) else part.get("type")
    if kind == "text":
        plain.say(role, "text", part if isinstance(part, str) else part["text"])
    elif kind == "refusal":
        plain.say(role, "text", part["refusal"])
    elif kind == "image_url":
        plain.say(role, *plain.at_url(part["image_url"]["url"], "image"))
    elif kind == "input_audio":
        plain.say(role, *sound(plain, part["input_audio"]))
    elif kind == "file":
        file = part["file"]
        plain.say(role, *plain.at_url(file.get("file_data") or file.get("file_id") or "", "document"))
    else:
        plain.say(role, "native", part)


def text_of(content) -> str:
    """A string, or texts in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


def responses(body: dict) -> Plain:
    """<https://platform.openai.com/docs/api-reference/responses/create>"""
    plain, ids = Plain(), {}
    if body.get("instructions"):
        plain.system.append(body["instructions"])
    given = body.get("input") or []
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        responses_item(plain, ids, item)
    for tool in body.get("tools") or []:
        responses_tool(plain, tool)
    plain.tool_choice = choice(body.get("tool_choice"))
    plain.response = response((body.get("text") or {}).get("format") or {}, None)
    shared(plain, body)
    plain.max_tokens = body.get("max_output_tokens")
    plain.verbosity = (body.get("text") or {}).get("verbosity")
    word = (body.get("reasoning") or {}).get("effort")
    plain.effort = effort_of_word(word) if word else None
    if "message.output_text.logprobs" in (body.get("include") or []):
        plain.logprobs = body.get("top_logprobs") or 0
    return plain


def responses_item(plain: Plain, ids: dict, item: dict):
    kind, role = item.get("type") or "message", item.get("role")
    if kind == "message" and role in ("system", "developer"):
        plain.instruct(text_of(item["content"]))
    elif kind == "message":
        for part in [item["content"]] if isinstance(item["content"], str) else item["content"]:
            responses_part(plain, role, part)
    elif kind in ("function_call", "custom_tool_call"):
        plain.call(ids, item["call_id"], item["name"], call_arguments(item))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        plain.result(ids, item["call_id"], unwrapped(output(plain, item["output"])))
    elif kind == "reasoning":
        plain.thinking += [part["text"] for part in (item.get("content") or item.get("summary") or [])]
    elif kind == "additional_tools":
        for tool in item["tools"]:
            responses_tool(plain, tool)
    else:
        plain.say("assistant", "native", item)


def output(plain: Plain, parts):
    """What a tool said: a text, or a list of texts and media."""
    if isinstance(parts, str):
        return parts
    media = [part for part in parts if part["type"] != "input_text"]
    # What a file at an address is, nobody says.
    kinds = {"input_image": "image"}
    texts = [part["text"] for part in parts if part["type"] == "input_text"]
    return texts + [plain.at_url(medium(part), kinds.get(part["type"], "media")) for part in media]


def sound(plain: Plain, audio: dict) -> tuple[str, str]:
    return plain.inline(audio["data"], {"mp3": "audio/mpeg"}.get(audio["format"], f"audio/{audio['format']}"))


def medium(part: dict) -> str:
    return next(part[name] for name in ("image_url", "file_data", "file_url", "file_id") if part.get(name))


def responses_part(plain: Plain, role: str, part):
    kind = "text" if isinstance(part, str) else part["type"]
    if kind in ("text", "input_text", "output_text"):
        plain.say(role, "text", part if isinstance(part, str) else part["text"])
    elif kind == "refusal":
        plain.say(role, "text", part["refusal"])
    elif kind == "input_image":
        plain.say(role, *plain.at_url(medium(part), "image"))
    elif kind == "input_audio":
        plain.say(role, *sound(plain, part["input_audio"]))
    elif kind == "input_file":
        plain.say(role, *plain.at_url(medium(part), "media"))
    else:
        plain.say(role, "native", part)


def responses_tool(plain: Plain, tool: dict):
    kind = tool["type"]
    if kind in ("function", "custom"):
        # Responses is strict where nothing is said and the schema allows it.
        plain.tools[tool["name"]] = read_tool(tool, kind == "custom", None)
    elif kind == "namespace":
        for inner in tool["tools"]:
            responses_tool(plain, inner | {"name": f"{tool['name']}__{inner['name']}"})
    else:
        hosted = {"web_search_preview": "web_search", "code_interpreter": "code_execution"}
        plain.hosted.append(hosted.get(kind, kind))


def call_arguments(call: dict):
    """Arguments, or the text that a custom tool takes."""
    return {"input": call["input"]} if "input" in call else read_json(call.get("arguments") or "{}")


# --- what both have -------------------------------------------------------------------------------------------------


def read_tool(function: dict, is_custom: bool, strict_unless_said: bool | None) -> Tool:
    """<https://platform.openai.com/docs/guides/function-calling#strict-mode>"""
    strict = function.get("strict")
    shape = FREE_TEXT if is_custom else tool_schema(function.get("parameters"))
    return Tool(function.get("description") or "", shape, strict_unless_said if strict is None or is_custom else strict)


def choice(value) -> tuple:
    if isinstance(value, str) or value is None:
        # Mistral has a word of its own.
        return ("required" if value == "any" else value or "auto",)
    if "allowed_tools" in (value, value.get("type")) or "allowed_tools" in value:
        allowed = value.get("allowed_tools") or value
        names = sorted((tool.get("function") or tool)["name"] for tool in allowed["tools"])
        return ("required" if allowed["mode"] == "required" else "auto", *names)
    named = value.get("function") or value.get("custom") or value
    return ("required", named["name"]) if "name" in named else ("hosted", value.get("type"))


def response(format: dict, inside: str | None) -> tuple | None:
    kind = format.get("type")
    if kind == "json_schema":
        return ("schema", schema((format[inside] if inside else format)["schema"]))
    return ("json",) if kind == "json_object" else None


def shared(plain: Plain, body: dict):
    plain.temperature, plain.top_p = body.get("temperature"), top_p(body.get("top_p"))
    plain.top_k = body.get("top_k")
    plain.parallel = body.get("parallel_tool_calls") is not False
    plain.user = body.get("safety_identifier") or body.get("user")
    plain.stream = bool(body.get("stream"))
    plain.model = body.get("model")
