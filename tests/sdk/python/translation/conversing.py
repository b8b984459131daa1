"""Two turns in the manner of each SDK: what the first one said goes back just as the SDK gave it.

So a user's program does it, and so a provider's seals on reasoning (and Gemini's on calls) have to come home through
every format: providers refuse to go on, or think anew, without them.
"""

from google.genai import types

from clients import anthropic_client, genai_client, openai_client, user

RESULT = "done"


class Conversing:
    """All four SDKs in front of one gateway."""

    def __init__(self, url: str, key: str):
        self._openai = openai_client(url, key)
        self._anthropic = anthropic_client(url, key)
        self._genai = genai_client(url, key)

    def converse(self, format: str, model: str, prompt: str, again: str, stream: bool):
        """Asks `prompt`, and then `again` with the results of the tools that were called."""
        turns = {
            "openai-chat": self._chat,
            "openai-responses": self._responses,
            "anthropic-messages": self._messages,
            "gemini": self._gemini,
        }
        turns[format](model, prompt, again, stream)

    def _chat(self, model, prompt, again, stream):
        create = self._openai.chat.completions.create
        if stream:
            said: dict = {}
            for chunk in create(model=model, messages=user(prompt), stream=True):
                grow(said, chunk.choices[0].delta.model_dump(exclude_none=True) if chunk.choices else {})
        else:
            said = create(model=model, messages=user(prompt)).choices[0].message.model_dump(exclude_none=True)
        said.pop("annotations", None)
        results = [{"role": "tool", "tool_call_id": call["id"], "content": RESULT} for call in said.get("tool_calls", [])]
        create(model=model, messages=[*user(prompt), said, *results, *user(again)])

    def _responses(self, model, prompt, again, stream):
        create = self._openai.responses.create
        answer = create(model=model, input=prompt) if not stream else list(create(model=model, input=prompt, stream=True))[-1].response
        calls = [item for item in answer.output if item.type == "function_call"]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": RESULT} for call in calls]
        # The SDK warns of kinds of actions that its types do not have yet.
        said = [item.model_dump(exclude_none=True, warnings=False) for item in answer.output]
        create(model=model, input=[*user(prompt), *said, *results, *user(again)])

    def _messages(self, model, prompt, again, stream):
        ask = {"model": model, "max_tokens": 8192}
        create = self._anthropic.messages.create
        if stream:
            with self._anthropic.messages.stream(**ask, messages=user(prompt)) as events:
                answer = events.get_final_message()
        else:
            answer = create(**ask, messages=user(prompt))
        calls = [block for block in answer.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": RESULT} for call in calls]
        results.append({"type": "text", "text": again})
        create(**ask, messages=[*user(prompt), {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}])

    def _gemini(self, model, prompt, again, stream):
        models = self._genai.models
        if stream:
            chunks = models.generate_content_stream(model=model, contents=prompt)
            parts = [part for chunk in chunks for part in (chunk.candidates[0].content and chunk.candidates[0].content.parts) or []]
        else:
            parts = models.generate_content(model=model, contents=prompt).candidates[0].content.parts
        calls = [part.function_call for part in parts if part.function_call]
        results = [
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": RESULT})) for call in calls
        ]
        results.append(types.Part(text=again))
        said = types.Content(role="model", parts=parts)
        models.generate_content(model=model, contents=[types.UserContent(prompt), said, types.Content(role="user", parts=results)])


def grow(message: dict, delta: dict):
    """Puts a message together from its deltas: texts go on, and items of lists are known by their index."""
    for name, more in delta.items():
        if isinstance(more, list):
            items = message.setdefault(name, [])
            for item in more:
                known = next((one for one in items if "index" in item and one.get("index") == item["index"]), None)
                if known is None:
                    items.append(known := {})
                grow(known, item)
        elif isinstance(more, dict):
            grow(message.setdefault(name, {}), more)
        else:
            goes_on = isinstance(message.get(name), str) and name not in ("role", "type", "id", "format")
            message[name] = message[name] + more if goes_on else more
