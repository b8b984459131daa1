"""The scripted upstream (`crates/testkit`) as a process: answers as it is told, and tells what it received.

The forms of scripts and requests are those of `testkit::upstream`; nothing is said twice here.
"""

import base64
import dataclasses
import json
import os
import subprocess
import time
import urllib.request

BINARY = os.environ["SCRIPTED_UPSTREAM_BIN"]

# How long an end of a call may take to be noticed.
ENDED_MAX_S = 5


@dataclasses.dataclass
class Received:
    """One request, as it reached the upstream."""

    method: str
    target: str
    headers: dict[str, str]
    credential: str | None
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Scripted:
    """A context manager; the process ends with it."""

    def __enter__(self):
        self._process = subprocess.Popen([BINARY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)

    def script(self, script):
        """From now on calls meet what this script says, and what was received so far is forgotten."""
        self._control("POST", "/__script", script)
        self._control("DELETE", "/__received")

    def follow(self, **behaviour):
        """From now on every call meets this behaviour, and what was received so far is forgotten."""
        self.script({"default": behaviour})

    def answer(self, **answer):
        """From now on every call gets this answer."""
        self.follow(reply={"answer": answer})

    def raw(self, body: str, content_type: str = "application/json", status: int = 200):
        """From now on every call gets just these bytes."""
        self.follow(reply={"raw": {"status": status, "headers": [["content-type", content_type]], "body": {"text": body}}})

    def rules(self, rules: list):
        """From now on calls meet the first of these rules that fits them, and what was received so far is forgotten."""
        self._control("POST", "/__script", {"rules": rules})
        self.forget()

    def forget(self):
        """What was received so far."""
        self._control("DELETE", "/__received")

    def received(self) -> list[Received]:
        """What came since the script was last changed, model lists left out: a gateway may ask for them by itself."""
        calls = self._control("GET", "/__received")["calls"]
        return [one(call) for call in calls if call["method"] != "GET"]

    def only_call(self) -> Received:
        calls = self.received()
        assert len(calls) == 1, [call.target for call in calls]
        return calls[0]

    def ending_of_only_call(self) -> str:
        """How the one call ended, once it has: `completed`, `cut` or `client_gone`."""
        deadline = time.monotonic() + ENDED_MAX_S
        while True:
            (call,) = self._control("GET", "/__received")["calls"]
            if call["ending"]:
                return call["ending"]
            assert time.monotonic() < deadline, "the call to the upstream goes on"
            time.sleep(0.02)

    def _control(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, method=method), timeout=15) as response:
            return json.load(response)


def one(call) -> Received:
    form = call["body"]
    body = form["text"].encode() if "text" in form else base64.b64decode(form["b64"])
    headers = {name.lower(): value for name, value in call["headers"]}
    return Received(call["method"], call["target"], headers, call["credential"], body)


# The answer that it gives while nothing else is said, and the tokens that it reports with it.
TEXT = "Hello from the scripted upstream."
INPUT_TOKENS = 12
OUTPUT_TOKENS = 7
