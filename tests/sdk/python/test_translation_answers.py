"""Every recorded answer, and some that nobody recorded, given to each of the four clients by an upstream of the recording's format.

What the client's official SDK then says must be what the recording says: text, reasoning, refusal, calls of tools, why
it stopped, and what it consumed. What is not is listed with its reason in `translation/deviations.toml`, by the
recording's id; anything else fails.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import KEY, TABLES
from translation import comparing, made_answers
from translation.asking import Asking
from translation.deviations import accepted
from translation.recordings import FORMATS, load
from translation.world import of

THREADS = 8
# Events come in pieces and several at once.
CHUNKING = {"sizes": [5, 200, 3000]}
RATES: dict[tuple[str, str], comparing.Rate] = {}


def answers(format: str):
    """What can be asked for: a failed stream is an error, and tested among them."""
    return [recording for recording in load(format) if recording.status == 200 and not recording.expected["error"]]


def prompt(recording) -> str:
    return f"answer as in recording {recording.id}"


@pytest.fixture(scope="module")
def script(upstream_process):
    """The upstream answers as recorded in the recording that the prompt names."""
    rules = [
        {"match": {"body": prompt(recording)}, "default": {"reply": recording.reply, "chunking": CHUNKING}}
        for format in FORMATS
        for recording in answers(format)
    ]
    upstream_process.rules(rules)


@pytest.fixture(scope="module")
def asking(translating, script):
    return Asking(translating.url, KEY)


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("upstream", FORMATS)
def test_answers_are_told_as_recorded(asking, upstream, client):
    def check(recording) -> list[str]:
        try:
            said = asking.ask(client, f"{of(upstream)}/some-model", prompt(recording), recording.streams)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the recording was not told
            return [f"error: {type(error).__name__}: {str(error)[:200]}"]
        return comparing.differences(recording, client, said)

    recordings = answers(upstream)
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip((recording.id for recording in recordings), pool.map(check, recordings)))
    wrong = {id: [line for line in lines if not accepted(id, client, line)] for id, lines in found.items() if lines}
    unexplained = [f"{id}: {line}" for id, lines in wrong.items() for line in lines]
    failed = sum(bool(lines) for lines in wrong.values())
    RATES[upstream, client] = comparing.Rate(failed, len(wrong) - failed, len(recordings))
    assert not unexplained, f"{failed} of {len(recordings)} are not as recorded:\n" + "\n".join(unexplained)


def test_the_rates():
    """Last: the table of all pairs."""
    if len(RATES) == len(FORMATS) ** 2:
        TABLES.append(comparing.table("answers as recorded", RATES, "upstream", "client"))


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("upstream", FORMATS)
def test_answers_that_nobody_recorded(translating, upstream_process, upstream, client):
    rules = [
        {"match": {"body": f"answer: {name}."}, "default": {"reply": {"answer": {"usage": made_answers.USAGE} | answer}}}
        for name, answer in made_answers.ANSWERS.items()
    ]
    upstream_process.rules(rules)
    asking = Asking(translating.url, KEY)
    wrong = []
    for name in made_answers.ANSWERS:
        for streams in (False, True):
            recording = made_answers.recorded(upstream, name, streams)
            try:
                said = asking.ask(client, f"{of(upstream)}/some-model", f"answer: {name}.", streams)
                lines = comparing.differences(recording, client, said)
            except Exception as error:  # noqa: BLE001 - whatever the SDK raises, the answer was not told
                lines = [f"error: {type(error).__name__}: {str(error)[:200]}"]
            wrong += [f"{name}{', streamed' if streams else ''}: {line}" for line in lines]
    assert not wrong, "\n".join(wrong)
