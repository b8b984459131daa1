"""Refusals of Tollgate itself: status, body and exception are those that the SDK's own provider would cause."""

import anthropic
import openai
import pytest
from google.genai import errors

from clients import anthropic_client, genai_client, openai_client, user
from conftest import BROKE_KEY, KEY, NARROW_KEY, limited_key

# The window of a minute moves in steps of a second, and never admits too much: so it is a second longer.
RETRY_AFTER_MAX_S = 61
WRONG_KEY = "sk-tg-sdk-nobody-0123456789abcdef0123456789"


# One call in the manner of each format. `key` and `model` decide whether it is refused.
def chat(url, key, model="smart-openai", stream=False):
    return openai_client(url, key).chat.completions.create(model=model, messages=user("hi"), stream=stream)


def responses(url, key, model="smart-openai", stream=False):
    return openai_client(url, key).responses.create(model=model, input="hi", stream=stream)


def embeddings(url, key, model="smart-embedding"):
    return openai_client(url, key).embeddings.create(model=model, input="hi")


def messages(url, key, model="smart-anthropic", stream=False):
    return anthropic_client(url, key).messages.create(model=model, max_tokens=9, messages=user("hi"), stream=stream)


def gemini(url, key, model="smart-gemini"):
    client = genai_client(url, key)
    return client.models.generate_content(model=model, contents="hi")


def gemini_stream(url, key, model="smart-gemini"):
    client = genai_client(url, key)
    return list(client.models.generate_content_stream(model=model, contents="hi"))


OPENAI = [chat, responses, embeddings]
GEMINI = [gemini, gemini_stream]


def refused(kind, call, *arguments, **more):
    """The exception, which must be of exactly this class."""
    with pytest.raises(Exception) as caught:
        call(*arguments, **more)
    assert type(caught.value) is kind, repr(caught.value)
    return caught.value


def check_openai(error, status, code):
    assert error.status_code == status
    assert set(error.body) == {"message", "type", "param", "code"}, error.body
    assert error.code == code
    assert error.message and error.type
    assert error.response.headers["content-type"] == "application/json"
    assert error.request_id


def check_anthropic(error, status, kind):
    assert error.status_code == status
    assert set(error.body) == {"type", "error", "request_id"}, error.body
    assert (error.body["type"], error.body["error"]["type"]) == ("error", kind)
    assert error.body["error"]["message"]
    assert error.request_id == error.body["request_id"]


def check_gemini(error, status, name):
    assert (error.code, error.status) == (status, name)
    assert error.details["error"]["code"] == status
    assert error.message


# --- 401: nobody knows this key ---


@pytest.mark.parametrize("call", OPENAI)
def test_openai_401(gateway_process, call):
    check_openai(refused(openai.AuthenticationError, call, gateway_process.url, WRONG_KEY), 401, "invalid_api_key")


def test_anthropic_401(gateway_process):
    error = refused(anthropic.AuthenticationError, messages, gateway_process.url, WRONG_KEY)
    check_anthropic(error, 401, "authentication_error")


@pytest.mark.parametrize("call", GEMINI)
def test_gemini_401(gateway_process, call):
    check_gemini(refused(errors.ClientError, call, gateway_process.url, WRONG_KEY), 401, "UNAUTHENTICATED")


def test_the_refusal_does_not_repeat_the_key(gateway_process):
    assert WRONG_KEY not in str(refused(openai.AuthenticationError, chat, gateway_process.url, WRONG_KEY))


# --- 402: policy `hard` and nothing in the account ---


@pytest.mark.parametrize("call", OPENAI)
def test_openai_402(gateway_process, upstream, call):
    error = refused(openai.APIStatusError, call, gateway_process.url, BROKE_KEY)
    check_openai(error, 402, "insufficient_balance")
    assert upstream.received() == []


def test_openai_402_before_a_stream(gateway_process):
    check_openai(refused(openai.APIStatusError, chat, gateway_process.url, BROKE_KEY, stream=True), 402, "insufficient_balance")


def test_anthropic_402(gateway_process, upstream):
    error = refused(anthropic.PaymentRequiredError, messages, gateway_process.url, BROKE_KEY)
    check_anthropic(error, 402, "billing_error")
    assert upstream.received() == []


@pytest.mark.parametrize("call", GEMINI)
def test_gemini_402(gateway_process, upstream, call):
    error = refused(errors.ClientError, call, gateway_process.url, BROKE_KEY)
    assert (error.code, error.details["error"]["code"]) == (402, 402)
    assert error.status in {"FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"}
    assert upstream.received() == []


# --- 403: the key may not use this model ---


@pytest.mark.parametrize("call", [chat, responses])
def test_openai_403(gateway_process, call):
    check_openai(refused(openai.PermissionDeniedError, call, gateway_process.url, NARROW_KEY), 403, "not_allowed")


def test_anthropic_403(gateway_process):
    error = refused(anthropic.PermissionDeniedError, messages, gateway_process.url, NARROW_KEY)
    check_anthropic(error, 403, "permission_error")


@pytest.mark.parametrize("call", GEMINI)
def test_gemini_403(gateway_process, call):
    check_gemini(refused(errors.ClientError, call, gateway_process.url, NARROW_KEY), 403, "PERMISSION_DENIED")


def test_the_key_lists_only_what_it_may_use(gateway_process):
    assert [model.id for model in openai_client(gateway_process.url, NARROW_KEY).models.list()] == ["smart-embedding"]


# --- 404: no such model ---


@pytest.mark.parametrize("call", OPENAI)
def test_openai_404(gateway_process, call):
    check_openai(refused(openai.NotFoundError, call, gateway_process.url, KEY, "no-such-model"), 404, "model_not_found")


def test_anthropic_404(gateway_process):
    error = refused(anthropic.NotFoundError, messages, gateway_process.url, KEY, "no-such-model")
    check_anthropic(error, 404, "not_found_error")


@pytest.mark.parametrize("call", GEMINI)
def test_gemini_404(gateway_process, call):
    check_gemini(refused(errors.ClientError, call, gateway_process.url, KEY, "no-such-model"), 404, "NOT_FOUND")


# --- 429: the key's own limit of one call a minute ---


@pytest.mark.parametrize(("call", "of"), zip(OPENAI, ["openai", "responses", "embeddings"]))
def test_openai_429(gateway_process, upstream, call, of):
    call(gateway_process.url, limited_key(of))
    error = refused(openai.RateLimitError, call, gateway_process.url, limited_key(of))
    check_openai(error, 429, "rate_limit_exceeded")
    assert 0 < int(error.response.headers["retry-after"]) <= RETRY_AFTER_MAX_S
    assert error.response.headers["x-ratelimit-limit-requests"] == "1"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(upstream.received()) == 1


def test_anthropic_429(gateway_process, upstream):
    messages(gateway_process.url, limited_key("anthropic"))
    error = refused(anthropic.RateLimitError, messages, gateway_process.url, limited_key("anthropic"))
    check_anthropic(error, 429, "rate_limit_error")
    assert 0 < int(error.response.headers["retry-after"]) <= RETRY_AFTER_MAX_S
    assert len(upstream.received()) == 1


@pytest.mark.parametrize(("call", "of"), zip(GEMINI, ["gemini", "gemini-stream"]))
def test_gemini_429(gateway_process, upstream, call, of):
    call(gateway_process.url, limited_key(of))
    check_gemini(refused(errors.ClientError, call, gateway_process.url, limited_key(of)), 429, "RESOURCE_EXHAUSTED")
    assert len(upstream.received()) == 1


# --- what the upstream refused ---


@pytest.mark.parametrize("status", [400, 422])
def test_a_mistake_of_the_caller_comes_back_as_the_provider_said_it(gateway_process, upstream, status):
    said = '{"error": {"message": "no such parameter: `foo`", "type": "invalid_request_error", "param": "foo", "code": "x"}}'
    upstream.raw(said, status=status)
    kinds = {400: openai.BadRequestError, 422: openai.UnprocessableEntityError}
    error = refused(kinds[status], chat, gateway_process.url, KEY)
    assert (error.param, error.response.text) == ("foo", said)
    assert len(upstream.received()) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_of_our_credential_is_not_the_callers(own_gateway, upstream, status):
    upstream.follow(reply={"refusal": {"status": status}})
    error = refused(anthropic.ServiceUnavailableError, messages, own_gateway.url, KEY)
    # The upstream's text shows part of our key.
    assert "sk-scrip" not in str(error)
    assert error.body["error"]["message"]
