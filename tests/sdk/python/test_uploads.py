"""google-genai uploads files in two steps: it begins with its key, and sends the pieces to the address that it was given."""

import io
import json
import urllib.error
import urllib.request

import pytest
from google.genai import errors

from clients import genai_client
from conftest import KEY, OPEN_KEY

FILE = {"name": "files/up1", "uri": "https://generativelanguage.googleapis.com/v1beta/files/up1", "mimeType": "text/plain", "state": "ACTIVE"}
CONTENT = b"piece of a file\n" * 4


def reply(headers: list, body: str) -> dict:
    return {"reply": {"raw": {"status": 200, "headers": [["content-type", "application/json"], *headers], "body": {"text": body}}}}


@pytest.fixture
def google(upstream):
    theirs = f"{upstream.url}/upload/v1beta/files?key=sk-upstream-gemini&upload_id=AHm_x-1&upload_protocol=resumable"
    upstream.rules(
        [
            {"match": {"body": "piece of a file"}, "default": reply([["x-goog-upload-status", "final"]], json.dumps({"file": FILE}))},
            {"match": {"path": "/files"}, "default": reply([["x-goog-upload-status", "active"], ["x-goog-upload-url", theirs]], "{}")},
            {"match": {"path": "/files/up1"}, "default": reply([], json.dumps(FILE))},
        ]
    )
    return upstream


def test_a_file_is_uploaded_through_the_gateway_alone(gateway_process, google):
    client = genai_client(gateway_process.url, OPEN_KEY)
    made = client.files.upload(file=io.BytesIO(CONTENT), config={"mime_type": "text/plain", "display_name": "a"})
    assert made.name == "files/up1"
    begin, piece = google.received()
    assert begin.target == "/upload/v1beta/files"
    assert piece.target == "/upload/v1beta/files?upload_id=AHm_x-1&upload_protocol=resumable"
    assert (begin.credential, piece.credential) == ("sk-upstream-gemini", "sk-upstream-gemini")
    assert piece.body == CONTENT
    assert piece.headers["x-goog-upload-command"] == "upload, finalize"
    assert client.files.get(name=made.name).name == "files/up1"


def test_the_address_is_the_gateways_and_names_no_secret(gateway_process, google):
    start = {"x-goog-api-key": OPEN_KEY, "x-goog-upload-command": "start", "content-type": "application/json"}
    request = urllib.request.Request(f"{gateway_process.url}/upload/v1beta/files", b"{}", start, method="POST")
    with urllib.request.urlopen(request) as answer:
        address = answer.headers["x-goog-upload-url"]
    assert address == f"{gateway_process.url}/upload/v1beta/files?upload_id=AHm_x-1&upload_protocol=resumable"
    unknown = urllib.request.Request(address.replace("AHm", "other"), CONTENT, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(unknown)
    assert refused.value.code == 404
    assert len(google.received()) == 1


def test_other_keys_may_not(gateway_process, google):
    with pytest.raises(errors.ClientError) as refused:
        client = genai_client(gateway_process.url, KEY)
        client.files.upload(file=io.BytesIO(CONTENT), config={"mime_type": "text/plain"})
    assert refused.value.code == 403
    assert google.received() == []
