"""Every recorded refusal of a provider, seen by each of the four clients: class, status and message of the exception.

Refusals of the caller's making reach the caller, in the words of the provider and in the form of the client. Those of our
own credentials do not: their texts may show a part of the key.
"""

import anthropic
import openai
import pytest
from google.genai import errors

from conftest import KEY
from translation.asking import Asking
from translation.recordings import FORMATS, Recording, load
from translation.world import of

CLASSES = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError", 503: "InternalServerError"}


def prompt(recording: Recording) -> str:
    return f"answer as in recording {recording.id}"


def refusals(format: str) -> list[Recording]:
    return [recording for recording in load(format) if recording.status != 200]


@pytest.fixture(scope="module")
def asking(translating, upstream_process):
    """Refused as in the recording that the prompt names."""
    recordings = [recording for format in FORMATS for recording in load(format) if recording.expected["error"]]
    upstream_process.rules([{"match": {"body": prompt(one)}, "default": {"reply": one.reply}} for one in recordings])
    return Asking(translating.url, KEY)


def message(recording: Recording) -> str:
    error = recording.expected["error"]
    return error if isinstance(error, str) else error["message"]


def is_of_our_key(recording: Recording) -> bool:
    said = message(recording).lower()
    return recording.status in (401, 402, 403) or "api key" in said


def told(error: Exception) -> tuple[str, int, str]:
    """Class, status and message, as the SDK has them."""
    if isinstance(error, errors.APIError):
        return {True: "ClientError", False: "ServerError"}[error.code < 500], error.code, error.message
    assert isinstance(error, (openai.APIStatusError, anthropic.APIStatusError)), repr(error)
    body = error.body.get("error", error.body)
    return type(error).__name__, error.status_code, body["message"]


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("upstream", FORMATS)
def test_refusals_are_told_in_the_form_of_the_client(asking, upstream, client):
    wrong = []
    for recording in refusals(upstream):
        status = 503 if is_of_our_key(recording) else recording.status
        kind = CLASSES[status]
        # The Anthropic SDK has a class of its own for this status.
        kind = {"anthropic-messages": {503: "ServiceUnavailableError"}}.get(client, {}).get(status, kind)
        if client == "gemini":
            kind = "ClientError" if status < 500 else "ServerError"
        try:
            said = asking.ask(client, f"{of(upstream)}/some-model", prompt(recording), stream=False)
        except Exception as error:  # noqa: BLE001 - which one it is is the question
            got = told(error)
            fits = message(recording) not in got[2] if status == 503 else got[2] == message(recording) or status == 429
            if got[:2] != (kind, status) or not fits:
                wrong.append(f"{recording.id}: {got}, recorded {recording.status} {message(recording)!r:.120}")
        else:
            wrong.append(f"{recording.id}: answered with {said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("client", FORMATS)
def test_a_stream_that_failed_is_no_answer(asking, client):
    failed = [recording for recording in load("openai-responses") if recording.status == 200 and recording.expected["error"]]
    assert failed
    for recording in failed:
        with pytest.raises((openai.APIError, anthropic.APIError, errors.APIError, AssertionError)) as caught:
            asking.ask(client, f"{of('openai-responses')}/some-model", prompt(recording), stream=True)
        assert "quota" in str(caught.value) or "failed" in str(caught.value) or "503" in str(caught.value), caught.value
