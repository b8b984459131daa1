"""Answers that nobody recorded, given by the scripted upstream in its own hand in each format, plain and streamed."""

from .recordings import Recording

BERN, ZURICH = ({"id": f"call_{at}", "name": "look", "arguments": {"city": city, "n": at}} for at, city in enumerate(("Bern", "Zürich")))
NOTHING = {"id": "call_2", "name": "go", "arguments": {}}
USAGE = {"input": 10, "cache_read": 5, "output": 9}

ANSWERS = {
    "text": {"pieces": ["Grü", "ße ", "\n\n", "🙂", ' "', "\\", '" </end>\u2028']},
    "nothing": {"pieces": []},
    "thinking": {"pieces": ["so"], "thinking": "First,\nI think. 🤔", "usage": USAGE | {"reasoning": 4}},
    "a call": {"pieces": [], "tool_calls": [BERN]},
    "calls": {"pieces": [], "tool_calls": [BERN, ZURICH, NOTHING]},
    "mixed calls": {"pieces": [], "tool_calls": [BERN, ZURICH, NOTHING], "interleave_tool_calls": True},
    "all of it": {"pieces": ["I ", "look."], "thinking": "Hm.", "tool_calls": [NOTHING, BERN], "usage": USAGE | {"reasoning": 4}},
    "cut": {"pieces": ["a", "b"], "stop": "length"},
    "cut before a word": {"pieces": [], "stop": "length"},
    "filtered": {"pieces": ["a"], "stop": "filter"},
}
STOPS = {"length": "length", "filter": "filter"}


def recorded(format: str, name: str, streams: bool) -> Recording:
    """One of them, as if it had been recorded."""
    answer = ANSWERS[name]
    usage = answer.get("usage", USAGE)
    # The scripted Gemini gives no ids.
    calls = [
        {"id": None if format == "gemini" else call["id"], "name": call["name"], "args": call["arguments"]}
        for call in answer.get("tool_calls", [])
    ]
    stop = STOPS.get(answer.get("stop"), "tool" if calls else "stop")
    expected = {"text": "".join(answer["pieces"]), "thinking": answer.get("thinking", ""), "refusal": "", "tool_calls": calls, "stop": stop}
    expected |= {"stop_raw": stop, "native": [], "choices": 1, "error": None}
    told = {"input": usage["input"] + usage["cache_read"], "cached": usage["cache_read"], "cache_write": 0}
    # The scripted Anthropic does not tell them apart.
    told |= {"output": usage["output"], "reasoning": 0 if format == "anthropic-messages" else usage.get("reasoning", 0)}
    response = {"status": 200, "headers": {}, "body": {"text": "[]"}}
    return Recording(
        {"id": name, "api": format, "provider": "", "response": response, "has_stream": streams, "expected": expected, "usage": told, "request": None}
    )
