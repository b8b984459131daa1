"""Two gateways for all tests: one as a newcomer has it, without configuration, and one in front of the scripted
upstream, where every text and every token is known beforehand."""

import os

import pytest

from scripted import Scripted
from tollgate import Tollgate
from translation import world

# Keys of the configured gateway. Each limited key allows one call a minute, so each test that wants a 429 has its own.
KEY = "sk-tg-sdk-alice-0123456789abcdef0123456789"
BROKE_KEY = "sk-tg-sdk-broke-0123456789abcdef0123456789"
OPEN_KEY = "sk-tg-sdk-open-0123456789abcdef0123456789"
NARROW_KEY = "sk-tg-sdk-narrow-0123456789abcdef0123456789"
LIMITED = ("openai", "responses", "embeddings", "anthropic", "gemini", "gemini-stream")


def limited_key(of: str) -> str:
    return f"sk-tg-sdk-limited-{of}-0123456789abcdef"


def config(upstream: str) -> str:
    """Without breaker and cooldown: a fault that one test orders must not be felt by the next."""
    limited = "\n".join(
        f'  - {{name: limited-{of}, user: alice, key: "{limited_key(of)}", limits: {{rpm: 1}}}}' for of in LIMITED
    )
    price = "{input: 1000.00, output: 2000.00, cache_read: 100.00, cache_write_5m: 1250.00, cache_write_1h: 1600.00}"
    return f"""
defaults: {{retries: 0}}
upstreams:
  - name: scripted-openai
    provider: openai
    base_url: {upstream}/v1
    credentials: [{{name: k1, key: sk-upstream-openai}}]
    breaker: off
    cooldown: off
    models: ["gpt-*", "text-embedding-*"]
  - name: scripted-anthropic
    provider: anthropic
    base_url: {upstream}/v1
    credentials: [{{name: k1, key: sk-upstream-anthropic}}]
    breaker: off
    cooldown: off
    models: ["claude-*"]
  - name: scripted-gemini
    provider: gemini
    base_url: {upstream}/v1beta
    credentials: [{{name: k1, key: sk-upstream-gemini}}]
    breaker: off
    cooldown: off
    models: ["gemini-*"]
models:
  - {{name: smart-openai, targets: [{{upstream: scripted-openai, model: gpt-4o-mini}}], price: {price}}}
  - {{name: smart-embedding, targets: [{{upstream: scripted-openai, model: text-embedding-3-small}}], price: {price}}}
  - {{name: smart-anthropic, targets: [{{upstream: scripted-anthropic, model: claude-opus-4-6}}], price: {price}}}
  - {{name: smart-gemini, targets: [{{upstream: scripted-gemini, model: gemini-2.5-flash}}], price: {price}}}
  - {{name: smart-vectors, targets: [{{upstream: scripted-gemini, model: gemini-embedding-001}}], price: {price}}}
users:
  - {{name: alice, opening_credit: 1000.00, policy: soft}}
  - {{name: broke, policy: hard}}
keys:
  - {{name: alice-key, user: alice, key: {KEY}}}
  - {{name: broke-key, user: broke, key: {BROKE_KEY}}}
  - {{name: open-key, user: alice, key: {OPEN_KEY}, passthrough: true}}
  - {{name: narrow-key, user: alice, key: {NARROW_KEY}, models: ["smart-embedding"]}}
{limited}
"""


@pytest.fixture(scope="session")
def upstream_process():
    with Scripted() as scripted:
        yield scripted


@pytest.fixture
def upstream(upstream_process):
    """The scripted upstream, telling its usual answer and having received nothing."""
    upstream_process.follow()
    return upstream_process


# With SDK_DIRECT=1 the tests of answers run against the upstream itself, and the others are left out: what does not
# hold there asks for something that no provider gives.
DIRECT = bool(os.environ.get("SDK_DIRECT"))


@pytest.fixture(scope="session")
def gateway_process(upstream_process):
    if DIRECT:
        pytest.skip("is about the gateway")
    with Tollgate(config(upstream_process.url)) as tollgate:
        yield tollgate


@pytest.fixture(scope="session")
def translating(upstream_process):
    """A gateway with one upstream of each format, all of which serve every name."""
    if DIRECT:
        pytest.skip("is about the gateway")
    with Tollgate(world.config(upstream_process.url, KEY)) as tollgate:
        yield tollgate


@pytest.fixture
def own_gateway(upstream):
    """A gateway of this test's own, for what leaves marks."""
    with Tollgate(config(upstream.url)) as tollgate:
        yield tollgate


@pytest.fixture
def gateway(request, upstream):
    """Where the tests of answers ask: the gateway in front of the scripted upstream."""
    return upstream if DIRECT else request.getfixturevalue("gateway_process")


@pytest.fixture(scope="session")
def newcomer():
    """A gateway started in an empty folder without any configuration."""
    if DIRECT:
        pytest.skip("is about the gateway")
    with Tollgate() as tollgate:
        yield tollgate


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the gateway logged."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for name in ("gateway_process", "newcomer", "translating"):
            if isinstance(tollgate := item.funcargs.get(name), Tollgate):
                report.sections.append((f"{name}: the end of stderr", tollgate.logged()[-3000:]))



TABLES: list[str] = []
"""Filled by the tests, printed after them."""


def pytest_terminal_summary(terminalreporter):
    for table in TABLES:
        terminalreporter.write_line(f"\n{table}")
