"""What is known not to arrive, with the reason; see `deviations.toml`."""

import functools
import pathlib
import tomllib


@functools.cache
def listed() -> dict:
    return tomllib.loads(pathlib.Path(__file__).with_suffix(".toml").read_text())


def accepted(id: str, client: str, line: str) -> bool:
    """Whether this line about a recording's answer is listed."""
    return any(
        id in entry["ids"] and client in entry["clients"] and line.split(":")[0] in entry["fields"] for entry in listed().get("answers", [])
    )


def excused(source: str, target: str, id: str, line: str) -> bool:
    """Whether this line about a request is of a kind that the target's documentation shows to be unavoidable."""
    return any(
        target in entry["targets"]
        and source in entry.get("sources", [source])
        and id in entry.get("ids", [id])
        and line.split(":")[0] in entry["kinds"]
        for entry in listed().get("requests", [])
    )
