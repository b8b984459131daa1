"""One question in the manner of each SDK, and its answer in plain form."""

from clients import anthropic_client, genai_client, openai_client, user

from . import said


class Asking:
    """All four SDKs in front of one gateway."""

    def __init__(self, url: str, key: str):
        self._openai = openai_client(url, key)
        self._anthropic = anthropic_client(url, key)
        self._genai = genai_client(url, key)

    def ask(self, format: str, model: str, prompt: str, stream: bool) -> said.Said:
        """Asks in this format; raises what the SDK raises."""
        ask = {
            "openai-chat": self._chat,
            "openai-responses": self._responses,
            "anthropic-messages": self._messages,
            "gemini": self._gemini,
        }
        return ask[format](model, prompt, stream)

    def _chat(self, model, prompt, stream):
        create = self._openai.chat.completions.create
        if not stream:
            return said.chat(create(model=model, messages=user(prompt)))
        return said.chat_stream(create(model=model, messages=user(prompt), stream=True, stream_options={"include_usage": True}))

    def _responses(self, model, prompt, stream):
        create = self._openai.responses.create
        if not stream:
            return said.responses(create(model=model, input=prompt))
        return said.responses_stream(create(model=model, input=prompt, stream=True))

    def _messages(self, model, prompt, stream):
        ask = {"model": model, "max_tokens": 1024, "messages": user(prompt)}
        if not stream:
            return said.anthropic(self._anthropic.messages.create(**ask))
        with self._anthropic.messages.stream(**ask) as events:
            return said.anthropic_stream(events)

    def _gemini(self, model, prompt, stream):
        if not stream:
            return said.gemini(self._genai.models.generate_content(model=model, contents=prompt))
        return said.gemini_stream(self._genai.models.generate_content_stream(model=model, contents=prompt))
