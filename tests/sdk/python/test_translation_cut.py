"""Streams that end badly, translated: no SDK may take them for whole, and each is told the end in its own format."""

import anthropic
import openai
import pytest
from google.genai import errors

from conftest import KEY
from test_cut_streams import FAULTS
from translation.asking import Asking
from translation.recordings import FORMATS
from translation.world import of

PAIRS = [(upstream, client) for upstream in FORMATS for client in FORMATS if upstream != client]


@pytest.fixture(scope="module")
def asking(translating):
    return Asking(translating.url, KEY)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize(("spoken", "client"), PAIRS)
def test_a_translated_stream_that_ends_badly_is_no_answer(asking, upstream, spoken, client, fault):
    upstream.follow(**FAULTS[fault])
    with pytest.raises((openai.APIError, anthropic.APIError, errors.APIError, AssertionError)) as caught:
        asking.ask(client, f"{of(spoken)}/some-model", "hi", stream=True)
    error = caught.value
    if client == "openai-chat":
        assert type(error) is openai.APIError and error.message, repr(error)
    elif client == "openai-responses":
        assert type(error) is openai.APIError or "failed" in str(error) or "error" in str(error), repr(error)
    elif client == "anthropic-messages":
        assert error.body["type"] == "error" and error.body["error"]["message"], repr(error)
    else:
        assert error.details["error"]["code"] >= 500, repr(error)
