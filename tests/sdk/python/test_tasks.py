"""Pictures, sounds and moderation with the `openai` SDK: what it gets, what arrives, and what it costs to the
nano-dollar, at the published prices."""

import base64
import decimal
import io
import json
import time
import urllib.request
import wave

import pytest

from clients import TIMEOUT_S, openai_client
from scripted import TEXT
from tollgate import Tollgate

KEY = "sk-tg-sdk-tasks-0123456789abcdef0123456789"
OPENING = decimal.Decimal("100.00")
# The server sees what a command did within a second; the settler writes within less.
SETTLED_MAX_S = 5
SOUND = b"ID3\x04\x00\xff\xfb\x90\x64data: [DONE]\n\n\x00\xfe\xff"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

CONFIG = """
defaults: {{retries: 0}}
upstreams:
  - {{name: scripted, provider: openai, base_url: "{url}/v1", credentials: [{{name: k1, key: sk-upstream}}], breaker: off, cooldown: off}}
models:
  - {{name: painter, targets: [{{upstream: scripted, model: gpt-image-2}}]}}
users: [{{name: alice, opening_credit: 100.00, policy: hard}}]
keys: [{{name: alice-key, user: alice, key: {key}}}]
"""


@pytest.fixture
def tasks(upstream):
    with Tollgate(CONFIG.format(url=upstream.url, key=KEY)) as tollgate:
        yield tollgate


@pytest.fixture
def sdk(tasks):
    return openai_client(tasks.url, KEY)


def spent(tollgate) -> decimal.Decimal:
    """What is gone from the account, once everything is booked."""
    deadline = time.monotonic() + SETTLED_MAX_S
    while True:
        with urllib.request.urlopen(tollgate.url + "/readyz", timeout=TIMEOUT_S) as response:
            if json.load(response)["journal_backlog_receipts"] == 0:
                break
        assert time.monotonic() < deadline, "the journal is not booked"
        time.sleep(0.02)
    return OPENING - decimal.Decimal(json.loads(tollgate.cli("balance", "show", "alice", "--json"))["balance"])


def recording() -> bytes:
    """A second and a half of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(2 * 24_000))
    return file.getvalue()


def test_pictures_from_a_text(tasks, sdk, upstream):
    raw = sdk.images.with_raw_response.generate(model="painter", prompt="a fox", n=2, size="1024x1024", quality="high")
    answer = raw.parse()
    assert [base64.b64decode(image.b64_json) for image in answer.data] == [PNG, PNG]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (12, 7)
    assert upstream.only_call().json["model"] == "gpt-image-2"
    # 12 × $5 + 7 × $30 per million
    assert raw.headers["x-tollgate-cost"] == "0.00027"
    assert spent(tasks) == decimal.Decimal("0.00027")


def test_pictures_as_a_stream(tasks, sdk):
    events = list(sdk.images.generate(model="painter", prompt="a fox", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert events[-1].usage.output_tokens == 7
    assert spent(tasks) == decimal.Decimal("0.00027")


def test_pictures_from_pictures(tasks, sdk, upstream):
    upstream.answer(usage_raw={
        "input_tokens": 1_010, "input_tokens_details": {"text_tokens": 10, "image_tokens": 1_000}, "output_tokens": 4_160, "total_tokens": 5_170,
    })
    answer = sdk.images.edit(model="painter", image=[("a.png", PNG), ("b.png", PNG)], mask=("m.png", PNG), prompt="a red fox")
    assert answer.usage.input_tokens_details.image_tokens == 1_000
    body = upstream.only_call().body
    assert body.count(PNG) == 3 and b"gpt-image-2" in body and b"painter" not in body
    # 10 × $5 + 1,000 × $8 + 4,160 × $30 per million
    assert spent(tasks) == decimal.Decimal("0.13285")
    events = list(sdk.images.edit(model="painter", image=("a.png", PNG), prompt="a red fox", stream=True))
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert spent(tasks) == 2 * decimal.Decimal("0.13285")
    assert sdk.images.create_variation(model="painter", image=("a.png", PNG)).data


def test_speech(tasks, sdk, upstream):
    spoken = sdk.audio.speech.create(model="tts-1", voice="alloy", input="Grüße!")
    assert spoken.content == SOUND and spoken.response.headers["content-type"] == "audio/mpeg"
    # 6 characters at $15 per million
    assert spent(tasks) == decimal.Decimal("0.00009")
    with sdk.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Grüße!") as streamed:
        assert b"".join(streamed.iter_bytes()) == SOUND
    assert spent(tasks) == 2 * decimal.Decimal("0.00009")
    with sdk.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input="a fox", stream_format="sse"
    ) as streamed:
        text = streamed.read().decode()
    assert "speech.audio.delta" in text and "speech.audio.done" in text
    # 12 × $0.60 + 7 × $12 per million
    assert spent(tasks) == 2 * decimal.Decimal("0.00009") + decimal.Decimal("0.0000912")


def test_transcription(tasks, sdk, upstream):
    answer = sdk.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.wav", recording()))
    assert (answer.text, answer.usage.type, answer.usage.input_token_details.audio_tokens) == (TEXT, "tokens", 12)
    assert recording() in upstream.only_call().body
    # 12 × $2.50 + 7 × $10 per million
    assert spent(tasks) == decimal.Decimal("0.0001")


def test_transcription_as_a_stream(tasks, sdk):
    stream = sdk.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=("a.wav", recording()), stream=True)
    events = list(stream)
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == TEXT
    assert (events[-1].type, events[-1].text, events[-1].usage.output_tokens) == ("transcript.text.done", TEXT, 7)
    # 12 × $1.25 + 7 × $5 per million
    assert spent(tasks) == decimal.Decimal("0.00005")


def test_transcription_billed_by_its_length(tasks, sdk, upstream):
    upstream.answer(pieces=["a fox"], usage_raw={"type": "duration", "seconds": 1.5})
    answer = sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()))
    assert answer.usage.seconds == 1.5
    # $0.006 a minute
    assert spent(tasks) == decimal.Decimal("0.00015")
    upstream.answer(pieces=["a fox"], reporting="never")
    text = sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()), response_format="text")
    assert text == "a fox\n"
    # Nobody says how long it is but the file: 1.5 s and its header of 44 bytes.
    assert spent(tasks) == decimal.Decimal("0.00015") + decimal.Decimal("0.0001502")
    verbose = sdk.audio.translations.create(model="whisper-1", file=("a.wav", recording()), response_format="verbose_json")
    assert verbose.duration == 8.47


def test_moderation_is_free(tasks, sdk, upstream):
    answer = sdk.moderations.create(input=["a fox", "a dog"])
    assert [result.flagged for result in answer.results] == [False, False]
    assert upstream.only_call().json["model"] == "omni-moderation-latest"
    assert spent(tasks) == 0
