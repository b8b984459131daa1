"""The configuration of a gateway with one upstream of each format.

Each is of a provider that speaks this format alone: one that speaks more would be asked in the client's own.
"""

from .recordings import FORMATS

DIALECTS = {name: name.replace("-", "_") for name in FORMATS}
PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:{method}",
}
# What answers `reasoning_details` takes them back, as OpenRouter.
QUIRKS = {"openai-chat": "{reasoning_details: true}"}


def of(format: str) -> str:
    """The name of the upstream that speaks this format."""
    return f"of-{format}"


def config(upstream: str, key: str) -> str:
    """Each upstream serves every name, so a test says which by `upstream/model`."""
    providers = "\n".join(
        f'  - {{name: only-{name}, base_url: {upstream}, surfaces: {{chat: {{{DIALECTS[name]}: "{PATHS[name]}"}}}}, quirks: {QUIRKS.get(name, "{}")}}}'
        for name in FORMATS
    )
    upstreams = "\n".join(
        f"  - {{name: {of(name)}, provider: only-{name}, credentials: [{{name: k1, key: sk-{name}}}], "
        f'breaker: off, cooldown: off, models: ["*"]}}'
        for name in FORMATS
    )
    return f"""
defaults: {{retries: 0, first_byte_timeout: 20s}}
providers:
{providers}
upstreams:
{upstreams}
users:
  - {{name: alice, policy: unlimited}}
keys:
  - {{name: alice-key, user: alice, key: {key}}}
"""
