"""The events of a Responses stream are numbered; the error that ends one in-band has the next number, not the first again."""

import json

import pytest

from clients import openai_client
from conftest import KEY
from test_cut_streams import FAULTS
from translation.world import of


def events(url: str, model: str) -> list[dict]:
    raw = openai_client(url, KEY).responses.with_raw_response.create(model=model, input="hi", stream=True)
    lines = raw.http_response.read().decode().split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize("where", ["same format", "anthropic-messages", "gemini"])
def test_an_error_has_the_next_number(gateway_process, translating, upstream, where, fault):
    if where == "same format" and fault == "error of the upstream":
        pytest.skip("the provider's own words about its failure are passed on, its number too")
    upstream.follow(**FAULTS[fault])
    if where == "same format":
        told = events(gateway_process.url, "smart-openai")
    else:
        told = events(translating.url, f"{of(where)}/some-model")
    assert told[-1]["type"] == "error", told[-1]
    assert len(told) > 2
    numbers = [event["sequence_number"] for event in told]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
