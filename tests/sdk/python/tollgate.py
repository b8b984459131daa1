"""The real binary as a process, in a folder and with an environment of its own."""

import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

BINARY = pathlib.Path(os.environ["TOLLGATE_BIN"]).resolve()

# Far above what a start takes (the aim is 100 ms), because a debug build may share the machine with a compiler.
READY_MAX_S = 30
EXIT_MAX_S = 30
LOOK_EVERY_S = 0.02

# An `OPENAI_API_KEY` of the developer must not become an upstream.
PASSED_ON = ("PATH", "LANG", "TZ", "TMPDIR", "RUST_BACKTRACE")


class Tollgate:
    """`tollgate serve`, ready to be called. A context manager: leaving it ends the process and removes the folder."""

    def __init__(self, config: str | None = None, env: dict[str, str] | None = None):
        self._folder = tempfile.TemporaryDirectory(prefix="tollgate-sdk-")
        self.dir = pathlib.Path(self._folder.name)
        if config is not None:
            (self.dir / "tollgate.yaml").write_text(config)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env |= {"HOME": str(self.dir), "TOLLGATE_SERVER__LISTEN": f"127.0.0.1:{self.port}"}
        self.env |= env or {}
        self._process: subprocess.Popen | None = None

    def __enter__(self):
        self._stdout = open(self.dir / "stdout.log", "ab")
        self._stderr = open(self.dir / "stderr.log", "ab")
        self._process = subprocess.Popen(
            [BINARY, "serve"], cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL, stdout=self._stdout, stderr=self._stderr
        )
        deadline = time.monotonic() + READY_MAX_S
        while self._get_status("/readyz") != 200:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = f"{self.said()}\n{self.logged()[-4000:]}"
                self.__exit__()
                raise AssertionError(f"tollgate did not become ready:\n{said}")
            time.sleep(LOOK_EVERY_S)
        return self

    def __exit__(self, *_):
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(EXIT_MAX_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._stdout.close()
        self._stderr.close()
        self._folder.cleanup()

    def said(self) -> str:
        """What it wrote to stdout."""
        return (self.dir / "stdout.log").read_text()

    def logged(self) -> str:
        """What it wrote to stderr."""
        return (self.dir / "stderr.log").read_text()

    def shell_lines(self) -> list[str]:
        """The lines that it printed to be pasted into a shell."""
        printed = (self.said() + self.logged()).splitlines()
        return [line.strip() for line in printed if re.match(r"\s*(export|curl) ", line)]

    def exported(self) -> dict[str, str]:
        """The variables that those lines export."""
        pairs = (re.match(r"export (\w+)=[\"']?([^\"']*)", line) for line in self.shell_lines())
        return {pair[1]: pair[2] for pair in pairs if pair}

    def cli(self, *arguments: str) -> str:
        """Runs a command beside the server; its stdout. Fails if the command does."""
        done = subprocess.run(
            [BINARY, *arguments], cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=EXIT_MAX_S
        )
        assert done.returncode == 0, f"tollgate {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def get_json(self, path: str, key: str):
        """`GET path` with this key."""
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def _get_status(self, path: str) -> int | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=2) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]
