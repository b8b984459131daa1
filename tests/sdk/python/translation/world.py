"""The configuration of a gateway with one upstream of each format."""

from .recordings import FORMATS

DIALECTS = {name: name.replace("-", "_") for name in FORMATS}
BASES = {"gemini": "/v1beta"}


def of(format: str) -> str:
    """The name of the upstream that speaks this format."""
    return f"of-{format}"


def config(upstream: str, key: str) -> str:
    """Each upstream serves every name, so a test says which by `upstream/model`."""
    upstreams = "\n".join(
        f"  - {{name: {of(name)}, dialect: {DIALECTS[name]}, base_url: {upstream}{BASES.get(name, '/v1')}, "
        f'credentials: [{{name: k1, key: sk-{name}}}], breaker: off, cooldown: off, models: ["*"]}}'
        for name in FORMATS
    )
    return f"""
defaults: {{retries: 0, first_byte_timeout: 20s}}
upstreams:
{upstreams}
users:
  - {{name: alice, policy: unlimited}}
keys:
  - {{name: alice-key, user: alice, key: {key}}}
"""
