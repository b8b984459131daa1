"""Every recorded request, and some that nobody recorded, for a model whose only upstream speaks another format.

What the upstream got is read by a reader of its format into a form that belongs to none, and so is what the client
sent: both must ask the same. What the target's format cannot say is listed by kind, with the documentation that shows
it, in `translation/deviations.toml`. And it must be a request of the target's format by the types of its own SDK.
"""

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from conftest import KEY, TABLES
from translation import comparing, made, sending, typed
from translation.comparing_requests import differences
from translation.deviations import excused
from translation.recordings import FORMATS, Recording, load

THREADS = 8
RATES: dict[tuple[str, str], comparing.Rate] = {}
MADE_RATES: dict[tuple[str, str], comparing.Rate] = {}
PAIRS = [(source, target) for source in FORMATS for target in FORMATS if source != target]


@pytest.fixture(scope="module")
def http(translating):
    with httpx2.Client(base_url=translating.url, headers={"authorization": f"Bearer {KEY}"}, timeout=30) as client:
        yield client


def requests(format: str) -> list[Recording]:
    return [recording for recording in load(format) if recording.request]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_requests_arrive_as_they_were_asked(http, upstream, source, target):
    arrive(http, upstream, source, target, requests(source), RATES)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_nobody_recorded_arrives_too(http, upstream, source, target):
    arrive(http, upstream, source, target, made.requests(source), MADE_RATES)


def arrive(http, upstream, source: str, target: str, recordings: list, rates: dict):
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda recording: sending.send(http, recording, target), recordings))
    received = {call.headers[sending.CASE]: call for call in upstream.received()}
    wrong = {}
    for recording, answer in zip(recordings, answers):
        if lines := check(recording, target, answer, received.get(recording.id)):
            wrong[recording.id] = [line for line in lines if not excused(source, target, recording.id, line)]
    unexplained = [f"{id}: {line}" for id, lines in wrong.items() for line in lines]
    failed = sum(bool(lines) for lines in wrong.values())
    rates[source, target] = comparing.Rate(failed, len(wrong) - failed, len(recordings))
    assert not unexplained, f"{failed} of {len(recordings)} did not arrive:\n" + "\n".join(unexplained)


def check(recording: Recording, target: str, answer: httpx2.Response, call) -> list[str]:
    # What its own provider refused, we may refuse.
    if call is None:
        return [] if 400 <= recording.status < 500 and 400 <= answer.status_code < 500 else [f"refused: {answer.status_code} {answer.text:.300}"]
    asked = sending.read(recording.format, recording.request, recording.path)
    told = sending.read(target, call.json, call.target)
    wrong = differences(asked, told, target)
    if told.model != sending.MODELS[target]:
        wrong.append(f"model: {told.model}")
    if answer.status_code != 200:
        wrong.append(f"answer: {answer.status_code} {answer.text:.300}")
    return wrong + [f"type: {fault}" for fault in typed.faults(target, call.json)]


def test_the_rates():
    """Last: the table of all pairs."""
    if len(RATES) == len(PAIRS):
        TABLES.append(comparing.table("requests as asked", RATES, "client", "upstream"))
        TABLES.append(comparing.table("made requests as asked", MADE_RATES, "client", "upstream"))
