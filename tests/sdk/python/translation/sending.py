"""Recorded requests, sent as their own clients sent them."""

import json

import httpx2

from . import plain_anthropic, plain_gemini, plain_openai
from .plain import Plain
from .recordings import Recording
from .world import of

PATHS = {"openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses", "anthropic-messages": "/v1/messages"}
MODELS = {
    "openai-chat": "gpt-4.1",
    "openai-responses": "gpt-5.1",
    "anthropic-messages": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
"""A usual model of each format, which is asked for in place of the recorded one."""

CASE = "x-case"
"""A header that goes through to the upstream, and says which recording its request came from."""


def send(http: httpx2.Client, recording: Recording, target: str) -> httpx2.Response:
    """Sends a recorded request to the upstream of another format."""
    model = f"{of(target)}/{MODELS[target]}"
    body = recording.request
    if recording.format == "gemini":
        streams = "streamGenerateContent" in recording.path
        method = "streamGenerateContent?alt=sse" if streams else "generateContent"
        path = f"/v1beta/models/{model}:{method}"
    else:
        path, body = PATHS[recording.format], body | {"model": model}
    return http.post(path, content=json.dumps(body, ensure_ascii=False).encode(), headers={CASE: recording.id})


def read(format: str, body: dict, path: str) -> Plain:
    """A request of this format."""
    if format == "gemini":
        return plain_gemini.generate(body, path)
    readers = {"openai-chat": plain_openai.chat, "openai-responses": plain_openai.responses, "anthropic-messages": plain_anthropic.messages}
    return readers[format](body)
