"""Paths beyond the metered operations see the operator's whole account: only for keys that may, and by allow-list."""

import anthropic
import openai
import pytest

from clients import Wire, anthropic_client, openai_client, user
from conftest import KEY, OPEN_KEY

FILE = '{"id":"file-1","object":"file","bytes":5,"created_at":1,"filename":"a.txt","purpose":"user_data","status":"processed"}'


def test_a_file_is_uploaded_byte_for_byte(gateway_process, upstream):
    upstream.raw(FILE)
    wire = Wire()
    client = openai_client(gateway_process.url, OPEN_KEY, wire)
    assert client.files.create(file=("a.txt", b"\x00\xffabc"), purpose="user_data").id == "file-1"
    call = upstream.only_call()
    assert (call.target, call.credential) == ("/v1/files", "sk-upstream-openai")
    assert call.body == wire.sent[0]
    assert call.headers["content-type"].startswith("multipart/form-data; boundary=")


def test_a_stored_response_is_deleted(gateway_process, upstream):
    upstream.raw("{}")
    openai_client(gateway_process.url, OPEN_KEY).responses.delete("resp_1")
    call = upstream.only_call()
    assert (call.method, call.target) == ("DELETE", "/v1/responses/resp_1")


def test_anthropic_batches(gateway_process, upstream):
    upstream.raw('{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress"}')
    client = anthropic_client(gateway_process.url, OPEN_KEY)
    params = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": user("hi")}
    assert client.messages.batches.create(requests=[{"custom_id": "a", "params": params}]).id == "msgbatch_1"
    call = upstream.only_call()
    assert (call.target, call.credential) == ("/v1/messages/batches", "sk-upstream-anthropic")


def test_other_keys_may_not(gateway_process, upstream):
    with pytest.raises(openai.PermissionDeniedError):
        openai_client(gateway_process.url, KEY).files.create(file=("a.txt", b"abc"), purpose="user_data")
    with pytest.raises(anthropic.PermissionDeniedError):
        anthropic_client(gateway_process.url, KEY).messages.batches.cancel("msgbatch_1")
    assert upstream.received() == []


def test_paths_that_no_provider_lists_are_not_there(gateway_process, upstream):
    with pytest.raises(openai.NotFoundError):
        openai_client(gateway_process.url, OPEN_KEY).post("/organization/admin_api_keys", cast_to=object, body={})
    assert upstream.received() == []
