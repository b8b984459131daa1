"""Answers whose model failed while it gave them, which some providers tell as a reason why they ended: an exception for every
SDK, whole and streamed, and never an answer."""

import json

import anthropic
import openai
import pytest
from google.genai import errors

from conftest import KEY
from translation.asking import Asking
from translation.recordings import FORMATS
from translation.world import of

WORDS = ["error", "insufficient_system_resource", "network_error", "abort"]
FAILED = (openai.APIError, anthropic.APIError, errors.APIError)


def chunk(delta: dict, finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'created': 1, 'model': 'm', 'choices': [choice]})}\n\n"


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("word", WORDS)
def test_it_is_an_exception(translating, upstream, client, word):
    asking = Asking(translating.url, KEY)
    choice = {"index": 0, "message": {"role": "assistant", "content": "half"}, "finish_reason": word}
    upstream.raw(json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}))
    with pytest.raises(FAILED):
        asking.ask(client, f"{of('openai-chat')}/m", "hi", False)
    begun = chunk({"role": "assistant", "content": "half"}, None)
    failed = chunk({}, word) + "data: [DONE]\n\n"
    for body in [failed, begun + failed]:
        upstream.raw(body, "text/event-stream")
        with pytest.raises((*FAILED, AssertionError)):
            asking.ask(client, f"{of('openai-chat')}/m", "hi", True)
