"""An account from the command line to the last cent, and the books at the end."""

import asyncio
import re
import time

import openai
import pytest

from clients import TIMEOUT_S, anthropic_client, genai_client, openai_client, user
from conftest import KEY

# 12 tokens at $0.001 and 7 at $0.002
COST = 0.026
# The server sees what a command did within a second; the settler writes within less.
SETTLED_MAX_S = 5


@pytest.fixture(scope="module")
def carol(gateway_process):
    """A user with policy `hard` and no money yet; her key."""
    gateway_process.cli("user", "add", "carol", "--policy", "hard")
    printed = gateway_process.cli("key", "add", "carol-laptop", "--user", "carol")
    key = re.search(r"sk-tg-\S+", printed)
    assert key, printed
    return key[0]


def wait_until(what, holds):
    deadline = time.monotonic() + SETTLED_MAX_S
    while not (value := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def balance(gateway, key) -> float:
    return float(gateway.get_json("/api/me/balance", key)["balance"])


def spend(gateway, key, call) -> float:
    """What the balance loses by `call`, once it is settled."""
    before = balance(gateway, key)
    call()
    wait_until("the call is settled", lambda: balance(gateway, key) != before)
    return round(before - balance(gateway, key), 9)


def test_money_is_asked_for_before_and_taken_after(gateway_process, upstream, carol):
    client = openai_client(gateway_process.url, carol)

    def ask():
        return client.chat.completions.create(model="smart-openai", messages=user("hi"), max_tokens=50)

    with pytest.raises(openai.APIStatusError) as caught:
        wait_until("the new key is known", lambda: known(ask))
    assert caught.value.status_code == 402
    gateway_process.cli("balance", "add", "carol", "10.00")
    wait_until("the money has come", lambda: balance(gateway_process, carol) == 10)
    assert spend(gateway_process, carol, ask) == COST


def known(ask) -> bool:
    try:
        ask()
    except openai.AuthenticationError:
        return False
    return True


def test_streams_cost_the_same(gateway_process, upstream, carol):
    openai_sdk = openai_client(gateway_process.url, carol)
    anthropic_sdk = anthropic_client(gateway_process.url, carol)
    genai_sdk = genai_client(gateway_process.url, carol)
    ask = {"model": "smart-anthropic", "max_tokens": 50, "messages": user("hi"), "stream": True}
    for call in (
        lambda: list(openai_sdk.chat.completions.create(model="smart-openai", messages=user("hi"), stream=True, max_tokens=50)),
        lambda: list(openai_sdk.responses.create(model="smart-openai", input="hi", stream=True, max_output_tokens=50)),
        lambda: list(anthropic_sdk.messages.create(**ask)),
        lambda: list(genai_sdk.models.generate_content_stream(model="smart-gemini", contents="hi", config={"max_output_tokens": 50})),
    ):
        assert spend(gateway_process, carol, call) == COST


def test_a_crowd_pays_for_everyone(gateway_process, upstream, carol):
    async def crowd():
        address = f"{gateway_process.url}/v1"
        async with openai.AsyncOpenAI(base_url=address, api_key=carol, max_retries=0, timeout=TIMEOUT_S) as client:
            ask = {"model": "smart-openai", "messages": user("hi"), "max_tokens": 7}
            await asyncio.gather(*(client.chat.completions.create(**ask) for _ in range(20)))

    before = balance(gateway_process, carol)
    asyncio.run(crowd())
    wait_until("all are settled", lambda: round(before - balance(gateway_process, carol), 9) == round(20 * COST, 9))


def test_a_failed_call_costs_nothing(gateway_process, upstream, carol):
    before = balance(gateway_process, carol)
    client = openai_client(gateway_process.url, carol)
    upstream.follow(cut={"at": {"events": 5}, "how": "reset"})
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="smart-openai", messages=user("hi"), stream=True, max_tokens=50))
    upstream.follow(reply={"refusal": {"status": 400}})
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="smart-openai", messages=user("hi"), max_tokens=50)
    upstream.follow()
    # A call that does cost something shows that the settler has passed the others.
    paid = spend(gateway_process, carol, lambda: client.embeddings.create(model="smart-embedding", input="hi"))
    assert round(before - balance(gateway_process, carol), 9) == paid > 0


def test_the_books_agree(gateway_process, carol):
    gateway_process.cli("audit")


def test_no_secret_was_written_down(gateway_process, carol):
    written = gateway_process.said() + gateway_process.logged()
    for secret in (KEY, carol, "sk-upstream-openai", "sk-upstream-anthropic", "sk-upstream-gemini"):
        assert secret not in written
