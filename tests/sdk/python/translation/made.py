"""Requests that nobody recorded: what the formats' documentation allows and the recordings lack, one feature each."""

import base64
import dataclasses

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0123456789?>?>").decode()
PDF = base64.b64encode(b"%PDF-1.4 >>>???").decode()
WAV = base64.b64encode(b"RIFF0000WAVE??>>").decode()
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where", "enum": ["Bern", "Zürich"]},
        "days": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city"],
}
RICH = {
    "type": "object",
    "$defs": {"place": {"type": "object", "properties": {"name": {"type": "string"}, "near": {"$ref": "#/$defs/place"}}}},
    "properties": {
        "where": {"$ref": "#/$defs/place", "description": "Where"},
        "when": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], "default": None},
        "how": {"type": ["string", "null"], "enum": ["fast", "slow", None]},
        "what": {"oneOf": [{"const": "a"}, {"type": "object", "properties": {"b": {"type": "number", "exclusiveMinimum": 0}}}]},
        "more": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[a-z]+$"}},
        "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
    },
    "required": ["where"],
    "additionalProperties": False,
}
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def chat() -> dict[str, dict]:
    tool = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": PARAMETERS}}
    other = {"type": "function", "function": {"name": "go", "description": "Goes.", "parameters": {"type": "object", "properties": {}}}}
    calls = [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for at, (name, arguments) in enumerate([("look", '{"city":"Bern"}'), ("go", "{}"), ("look", '{"city":"Zürich"}')])
    ]
    results = [{"role": "tool", "tool_call_id": f"call_{at}", "content": f"said {at}"} for at in (0, 1, 2)]
    user = {"role": "user", "content": "hi"}
    parts = [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
        {"type": "text", "text": "and"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    tools = {"messages": [user], "tools": [tool, other]}
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": OBJECT, "strict": True}}
    return {
        "roles": {"messages": [{"role": "developer", "content": "A."}, {"role": "system", "content": [{"type": "text", "text": "B."}]}, user]},
        "parallel": {**tools, "messages": [user, {"role": "assistant", "content": None, "tool_calls": calls}, *results]},
        "results in another order": {**tools, "messages": [user, {"role": "assistant", "tool_calls": calls}, *reversed(results), user]},
        "text with calls": {**tools, "messages": [user, {"role": "assistant", "content": "I look.", "tool_calls": calls[:1]}, results[0], user]},
        "empty result": {**tools, "messages": [user, {"role": "assistant", "tool_calls": calls[:1]}, {**results[0], "content": ""}, user]},
        "result of parts": {
            **tools,
            "messages": [user, {"role": "assistant", "tool_calls": calls[:1]}, {**results[0], "content": [{"type": "text", "text": "a"}]}],
        },
        "pictures": {"messages": [{"role": "user", "content": parts}]},
        "file": {"messages": [{"role": "user", "content": [file, {"type": "text", "text": "sum up"}]}]},
        "refused before": {"messages": [user, {"role": "assistant", "refusal": "No."}, user]},
        "prefilled": {"messages": [user, {"role": "assistant", "content": "It is"}]},
        "two in a row": {"messages": [user, user, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, user]},
        "required": {**tools, "tool_choice": "required"},
        "none": {**tools, "tool_choice": "none"},
        "named": {**tools, "tool_choice": {"type": "function", "function": {"name": "go"}}},
        "one at a time": {**tools, "parallel_tool_calls": False},
        "strict tool": {"messages": [user], "tools": [{"type": "function", "function": {"name": "s", "parameters": OBJECT, "strict": True}}]},
        "schema": {"messages": [user], "response_format": schema},
        "json": {"messages": [{"role": "user", "content": "JSON, please"}], "response_format": {"type": "json_object"}},
        "sampling": {"messages": [user], "temperature": 0.5, "max_completion_tokens": 99, "stop": ["a", "b"], "stream": True},
        "one stop": {"messages": [user], "top_p": 0.5, "max_tokens": 99, "stop": "END"},
        "effort": {"messages": [user], "reasoning_effort": "high", "max_completion_tokens": 60000},
        "little effort": {"messages": [user], "reasoning_effort": "low"},
        "no effort": {"messages": [user], "reasoning_effort": "none"},
        "rich schema": {"messages": [user], "tools": [{"type": "function", "function": {"name": "r", "parameters": RICH}}]},
        "odd ids": {
            **tools,
            "messages": [
                user,
                {"role": "assistant", "content": "", "tool_calls": [{**calls[0], "id": "functions.look:0"}, {**calls[2], "id": "functions.look:1"}]},
                {"role": "tool", "tool_call_id": "functions.look:0", "content": "a"},
                {"role": "tool", "tool_call_id": "functions.look:1", "content": "b"},
            ],
        },
        "odd names": {"messages": [{**user, "name": "anna"}], "user": "u-1", "metadata": {"k": "v"}, "seed": 7},
    }


def responses() -> dict[str, dict]:
    tool = {"type": "function", "name": "look", "description": "Looks.", "parameters": PARAMETERS, "strict": False}
    strict = {"type": "function", "name": "s", "description": "", "parameters": OBJECT, "strict": True}
    user = {"role": "user", "content": "hi"}
    calls = [{"type": "function_call", "call_id": f"call_{at}", "name": "look", "arguments": '{"city":"Bern"}'} for at in (0, 1)]
    results = [{"type": "function_call_output", "call_id": f"call_{at}", "output": f"said {at}"} for at in (0, 1)]
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is", "annotations": []}]}
    patch = {"type": "custom", "name": "patch", "description": "Patches."}
    patched = [
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** a"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
    ]
    search = {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}}
    return {
        "text": {"input": "hi", "instructions": "Be brief."},
        "roles": {"input": [{"role": "developer", "content": "A."}, {"role": "system", "content": "B."}, user], "instructions": "I."},
        "parallel": {"input": [user, *calls, *results], "tools": [tool]},
        "one after the other": {"input": [user, calls[0], results[0], calls[1], results[1], user], "tools": [tool]},
        "text with calls": {"input": [user, said, calls[0], results[0], user], "tools": [tool]},
        "pictures": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "what?"}, picture, file]}]},
        "picture of a tool": {"input": [user, calls[0], {**results[0], "output": [{"type": "input_text", "text": "see"}, picture]}], "tools": [tool]},
        "custom": {"input": [user, *patched, user], "tools": [patch]},
        "strict": {"input": "hi", "tools": [strict, tool], "tool_choice": "required", "parallel_tool_calls": False},
        "named": {"input": "hi", "tools": [strict, tool], "tool_choice": {"type": "function", "name": "look"}},
        "search": {"input": "hi", "tools": [search]},
        "schema": {"input": "hi", "text": {"format": {"type": "json_schema", "name": "a", "schema": OBJECT, "strict": True}}},
        "json": {"input": "JSON, please", "text": {"format": {"type": "json_object"}}},
        "sampling": {"input": "hi", "temperature": 0.5, "max_output_tokens": 99, "stream": True, "store": False},
        "effort": {"input": "hi", "reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 60000},
        "rich schema": {"input": "hi", "tools": [{"type": "function", "name": "r", "parameters": RICH, "strict": False}]},
        "little effort": {"input": "hi", "reasoning": {"effort": "minimal"}},
    }


def messages() -> dict[str, dict]:
    tool = {"name": "look", "description": "Looks.", "input_schema": PARAMETERS}
    go = {"name": "go", "input_schema": {"type": "object", "properties": {}}, "strict": True}
    user = {"role": "user", "content": "hi"}
    calls = [{"type": "tool_use", "id": f"toolu_{at}", "name": "look", "input": {"city": "Bern"}} for at in (0, 1)]
    results = [{"type": "tool_result", "tool_use_id": f"toolu_{at}", "content": f"said {at}"} for at in (0, 1)]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "A"}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a text"}}
    text = {"type": "text", "text": "what?"}
    seen = {**results[0], "content": [text, picture]}
    sealed = {"type": "redacted_thinking", "data": "AAAA"}
    cached = {"cache_control": {"type": "ephemeral"}}
    bodies = {
        "system": {"system": "Be brief.", "messages": [user]},
        "cached system": {"system": [{"type": "text", "text": "A.", **cached}, {"type": "text", "text": "B."}], "messages": [user]},
        "parallel": {"messages": [user, {"role": "assistant", "content": calls}, {"role": "user", "content": [*results, text]}]},
        "text with calls": {"messages": [user, {"role": "assistant", "content": [text, *calls]}, {"role": "user", "content": results}]},
        "empty result": {
            "messages": [user, {"role": "assistant", "content": calls[:1]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_0"}]}]
        },
        "failed": {
            "messages": [user, {"role": "assistant", "content": calls[:1]}, {"role": "user", "content": [{**results[0], "is_error": True}]}]
        },
        "picture of a tool": {"messages": [user, {"role": "assistant", "content": calls[:1]}, {"role": "user", "content": [seen]}]},
        "pictures": {"messages": [{"role": "user", "content": [text, picture, text, url]}]},
        "documents": {"messages": [{"role": "user", "content": [pdf, plain, text]}]},
        "redacted": {"messages": [user, {"role": "assistant", "content": [sealed, text]}, user]},
        "prefilled": {"messages": [user, {"role": "assistant", "content": "It is"}]},
        "any": {"messages": [user], "tools": [tool, go], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        "none": {"messages": [user], "tools": [tool, go], "tool_choice": {"type": "none"}},
        "named": {"messages": [user], "tools": [{**tool, **cached}, go], "tool_choice": {"type": "tool", "name": "go"}},
        "search": {"messages": [user], "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
        "schema": {"messages": [user], "output_config": {"format": {"type": "json_schema", "schema": OBJECT}}},
        "sampling": {"messages": [user], "temperature": 0.5, "stop_sequences": ["a"], "stream": True, "metadata": {"user_id": "u-1"}},
        "rich schema": {"messages": [user], "tools": [{"name": "r", "input_schema": RICH}]},
        "thinking": {"messages": [user], "thinking": {"type": "enabled", "budget_tokens": 24000}, "max_tokens": 32000},
        "little thinking": {"messages": [user], "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "not thinking": {"messages": [user], "thinking": {"type": "disabled"}},
    }
    used = {"parallel", "text with calls", "empty result", "failed", "picture of a tool"}
    return {name: {"max_tokens": 4096} | body | ({"tools": [tool]} if name in used else {}) for name, body in bodies.items()}


def gemini() -> dict[str, dict]:
    upper = {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True, "description": "Where"}}, "required": ["city"]}
    look = {"name": "look", "description": "Looks.", "parameters": upper}
    go = {"name": "go", "description": "Goes."}
    user = {"role": "user", "parts": [{"text": "hi"}]}
    calls = [{"functionCall": {"name": "look", "args": {"city": city}}} for city in ("Bern", "Chur")]
    results = [{"functionResponse": {"name": "look", "response": {"output": f"said {at}"}}} for at in (0, 1)]
    failed = {"functionResponse": {"name": "look", "response": {"error": "no"}}}
    rich = {"functionResponse": {"name": "look", "response": {"a": [1, 2], "b": {"c": None}}}}
    picture = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    model, tools = "model", [{"functionDeclarations": [look, go]}]

    def called(*said) -> dict:
        return {"contents": [user, {"role": model, "parts": calls[: len(said)]}, {"role": "user", "parts": list(said)}], "tools": tools}

    def configured(**config) -> dict:
        return {"contents": [user], "generationConfig": config}

    def chosen(**choice) -> dict:
        return {"contents": [user], "tools": tools, "toolConfig": {"functionCallingConfig": choice}}

    return {
        "system": {"contents": [user], "systemInstruction": {"parts": [{"text": "A."}, {"text": "B."}]}},
        "without a role": {"contents": [{"parts": [{"text": "hi"}]}]},
        "parallel": called(*results),
        "failed": called(failed),
        "rich result": called(rich),
        "pictures": {"contents": [{"role": "user", "parts": [{"text": "what?"}, picture, {"text": "and"}, picture]}]},
        "pdf": {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "application/pdf", "data": PDF}}, {"text": "sum up"}]}]},
        "any": chosen(mode="ANY"),
        "none": chosen(mode="NONE"),
        "named": chosen(mode="ANY", allowedFunctionNames=["go"]),
        "search": {"contents": [user], "tools": [{"googleSearch": {}}]},
        "schema": configured(responseMimeType="application/json", responseSchema=upper),
        "json schema": configured(responseMimeType="application/json", responseJsonSchema=OBJECT),
        "json": configured(responseMimeType="application/json"),
        "sampling": configured(temperature=0.5, maxOutputTokens=99, stopSequences=["a"], seed=7),
        "top": configured(topP=0.5, topK=20),
        "rich schema": {"contents": [user], "tools": [{"functionDeclarations": [{"name": "r", "description": "", "parametersJsonSchema": RICH}]}]},
        "of the function": {
            "contents": [user, {"role": model, "parts": calls[:1]}, {"role": "function", "parts": results[:1]}],
            "tools": tools,
        },
        "thinking": configured(thinkingConfig={"thinkingBudget": 24576, "includeThoughts": True}, maxOutputTokens=60000),
        "little thinking": configured(thinkingConfig={"thinkingLevel": "LOW"}),
        "not thinking": configured(thinkingConfig={"thinkingBudget": 0}),
    }


@dataclasses.dataclass(frozen=True)
class Made:
    """Has what a recording of a request has."""

    id: str
    format: str
    request: dict
    path: str
    status: int = 200


def requests(format: str) -> list[Made]:
    """All of a format; the model is put in when they are sent."""
    made = {"openai-chat": chat, "openai-responses": responses, "anthropic-messages": messages, "gemini": gemini}
    return [Made(name, format, body, "/v1beta/models/m:generateContent") for name, body in made[format]().items()]
