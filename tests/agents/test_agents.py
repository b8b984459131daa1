"""Coding agents as their users run them, before a model whose upstream speaks another format.

Each agent gets a task, asks for a tool, runs it, and answers from what the tool said: two turns over a translated
conversation. The upstream is scripted: it asks for the agent's own shell tool as long as no tool has answered, and says a
word of its own afterwards. What must hold: the agent ends well and prints that word, the tool was really run (its mark is
in the conversation that reached the upstream), and every call was metered.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "sdk" / "python"))

from scripted import Scripted  # noqa: E402
from tollgate import Tollgate  # noqa: E402

AGENTS = pathlib.Path(os.environ["AGENTS_BIN"])
KEY = "sk-tg-agents-0123456789abcdef0123456789ab"

# The agent's shell writes this; no request can have it before the tool was run, because the command spells it apart.
MARK = "tollgate-4-2-mark"
COMMAND = "printf 'tollgate-%s-mark' 4-2"
WORD = "PELICAN"
AGENT_MAX_S = 120
BOOKED_MAX_S = 10
ADMIN_TOKEN = "admin-token-of-the-agents-tests"

# How each format says that a tool has answered.
ANSWERED = {"chat": '"role":"tool"', "anthropic": '"tool_result"', "gemini": '"functionResponse"', "responses": '"function_call_output"'}


def config(upstream: str) -> str:
    def line(name: str, provider: str, path: str) -> str:
        return f"  - {{name: {name}, provider: {provider}, base_url: {upstream}{path}, models: [{name}], credentials: [{{name: k, key: x}}], breaker: off, cooldown: off}}"

    return f"""
providers:
  - {{name: chat-only, base_url: "http://unused.invalid", surfaces: {{chat: {{openai_chat: /chat/completions}}}}}}
upstreams:
{line("chat", "chat-only", "/v1")}
{line("anthropic", "anthropic", "/v1")}
{line("gemini", "gemini", "/v1beta")}
users: [{{name: alice}}]
keys: [{{name: laptop, user: alice, key: {KEY}}}]
"""


def script(tool: str, arguments: dict, fmt: str):
    """Asks for the tool in turns that offer it, until it has answered; says a word then, and to whatever else is asked."""
    call = {"reply": {"answer": {"pieces": ["I look."], "tool_calls": [{"id": "call_1", "name": tool, "arguments": arguments}], "stop": "tool_calls"}}}
    word = {"reply": {"answer": {"pieces": [WORD]}}}
    return {
        "rules": [
            {"match": {"body": ANSWERED[fmt]}, "default": word},
            {"match": {"body": f'"{tool}"'}, "default": call},
        ],
        "default": word,
    }


@pytest.fixture(scope="module")
def upstream():
    with Scripted() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def gateway(upstream):
    with Tollgate(config(upstream.url), {"ADMIN_TOKEN": ADMIN_TOKEN}) as tollgate:
        yield tollgate


def run(agent: str, arguments: list[str], env: dict[str, str], home: pathlib.Path) -> str:
    base = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    work = home / "work"
    work.mkdir()
    done = subprocess.run(
        [AGENTS / agent, *arguments],
        cwd=work,
        env=base | {"HOME": str(home), "CI": "1", "NO_COLOR": "1"} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=AGENT_MAX_S,
    )
    assert done.returncode == 0, f"{agent}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def assert_two_turns(upstream, gateway, printed: str, path: str):
    assert WORD in printed, printed[-2000:]
    calls = [call for call in upstream.received() if call.target.split("?")[0].endswith(path)]
    seen = [f"{call.method} {call.target}: …{call.body.decode()[-1000:]}" for call in upstream.received()]
    assert any(MARK in call.body.decode() for call in calls), seen
    receipts = booked(gateway, len(calls))
    assert all(receipt["status"] == 200 for receipt in receipts), receipts


def booked(gateway, count: int) -> list[dict]:
    """The receipts, once they are in the database: they are booked a moment after the answer."""
    deadline = time.monotonic() + BOOKED_MAX_S
    while True:
        receipts = gateway.get_json("/api/requests?limit=50", ADMIN_TOKEN)["requests"]
        if len(receipts) >= count:
            return receipts
        assert time.monotonic() < deadline, receipts
        time.sleep(0.05)


@pytest.mark.parametrize("model, path", [("chat", "/chat/completions"), ("gemini", ":streamGenerateContent")])
def test_claude_code(upstream, gateway, tmp_path, model, path):
    upstream.script(script("Bash", {"command": COMMAND, "description": "a mark"}, model))
    env = {
        "ANTHROPIC_BASE_URL": gateway.url,
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    printed = run("claude", ["-p", "Write the mark.", "--model", model, "--allowedTools", "Bash", "--output-format", "text"], env, tmp_path)
    assert_two_turns(upstream, gateway, printed, path)


@pytest.mark.parametrize("model, path", [("chat", "/chat/completions"), ("anthropic", "/messages")])
def test_codex(upstream, gateway, tmp_path, model, path):
    upstream.script(script("exec_command", {"cmd": COMMAND}, model))
    settings = {
        "model_provider": '"tollgate"',
        "model_providers.tollgate.name": '"Tollgate"',
        "model_providers.tollgate.base_url": f'"{gateway.url}/v1"',
        "model_providers.tollgate.env_key": '"TOLLGATE_KEY"',
        "model_providers.tollgate.wire_api": '"responses"',
    }
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    arguments = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", model, *flags, "Write the mark."]
    printed = run("codex", arguments, {"TOLLGATE_KEY": KEY, "CODEX_HOME": str(tmp_path)}, tmp_path)
    assert_two_turns(upstream, gateway, printed, path)


@pytest.mark.parametrize("model, path", [("chat", "/chat/completions"), ("anthropic", "/messages")])
def test_gemini_cli(upstream, gateway, tmp_path, model, path):
    upstream.script(script("run_shell_command", {"command": COMMAND, "description": "a mark"}, model))
    # With a base URL of one's own it would choose a way to log in that only its graphical kin has.
    settings = tmp_path / ".gemini" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}}))
    env = {
        "GEMINI_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": gateway.url,
        "GEMINI_MODEL": model,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    }
    printed = run("gemini", ["-p", "Write the mark.", "-m", model, "--yolo", "--output-format", "text"], env, tmp_path)
    assert_two_turns(upstream, gateway, printed, path)
