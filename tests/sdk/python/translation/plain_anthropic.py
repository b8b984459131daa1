"""Requests of Messages, read by <https://docs.anthropic.com/en/api/messages>."""

from .plain import Plain, Tool, effort_of_budget, effort_of_word, schema, tool_schema, top_p, unwrapped


def messages(body: dict) -> Plain:
    plain, ids = Plain(), {}
    system = body.get("system") or []
    plain.system = [system] if isinstance(system, str) else [block["text"] for block in system]
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if message["role"] == "system":
                plain.instruct(block["text"])
            else:
                read_block(plain, ids, message["role"], block)
    for tool in body.get("tools") or []:
        read_tool(plain, tool)
    chosen = body.get("tool_choice") or {}
    plain.tool_choice = choice(chosen)
    plain.parallel = not chosen.get("disable_parallel_tool_use")
    plain.max_tokens = body.get("max_tokens")
    plain.temperature, plain.top_p, plain.top_k = body.get("temperature"), top_p(body.get("top_p")), body.get("top_k")
    plain.stop = body.get("stop_sequences") or []
    output = body.get("output_config") or {}
    format = output.get("format") or body.get("output_format") or {}
    plain.response = ("schema", schema(format["schema"])) if format else None
    plain.effort = effort(body.get("thinking") or {}, output)
    plain.user = (body.get("metadata") or {}).get("user_id")
    plain.stream = bool(body.get("stream"))
    plain.model = body.get("model")
    return plain


def effort(thinking: dict, output: dict) -> str | None:
    if thinking.get("type") == "disabled":
        return "none"
    if output.get("effort"):
        return effort_of_word(output["effort"])
    if thinking.get("type") == "enabled":
        return effort_of_budget(thinking["budget_tokens"])
    # `adaptive`: as the model thinks right, which is what others do where nothing is said.
    return "any" if thinking else None


def choice(value: dict) -> tuple:
    kind = value.get("type", "auto")
    return ("required", value["name"]) if kind == "tool" else ("required",) if kind == "any" else (kind,)


def read_block(plain: Plain, ids: dict, role: str, block: dict):
    kind = block["type"]
    if kind == "text":
        plain.say(role, "text", block["text"])
    elif kind == "thinking":
        plain.thinking.append(block["thinking"])
    elif kind == "tool_use":
        plain.call(ids, block["id"], block["name"], block["input"])
    elif kind == "tool_result":
        plain.result(ids, block["tool_use_id"], unwrapped(content(plain, block.get("content"))), block.get("is_error"))
    elif kind in ("image", "document"):
        plain.say(role, *medium(plain, block))
    elif kind != "redacted_thinking":
        plain.say(role, "native", block)


def medium(plain: Plain, block: dict) -> tuple[str, str]:
    source = block["source"]
    if source["type"] == "text":
        return "text", source["data"]
    if "data" in source:
        return plain.inline(source["data"], source["media_type"])
    return block["type"], source.get("url") or source.get("file_id") or ""


def content(plain: Plain, blocks):
    if isinstance(blocks, str) or blocks is None:
        return blocks or ""
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    media = [medium(plain, block) for block in blocks if block["type"] in ("image", "document")]
    # What only this format has (`tool_reference`) can be told as its JSON.
    others = [block for block in blocks if block["type"] not in ("text", "image", "document")]
    if others and not texts and not media:
        return others[0] if len(others) == 1 else others
    return "".join(texts) if not media and not others else (["".join(texts)] if texts else []) + media + others


HOSTED = {"web_search": "web_search", "web_fetch": "web_fetch", "code_execution": "code_execution", "tool_search": "tool_search"}


def read_tool(plain: Plain, tool: dict):
    kind = tool.get("type") or "custom"
    if kind == "custom":
        plain.tools[tool["name"]] = Tool(tool.get("description") or "", tool_schema(tool["input_schema"]), bool(tool.get("strict")))
    else:
        plain.hosted.append(next((name for start, name in HOSTED.items() if kind.startswith(start)), kind))
