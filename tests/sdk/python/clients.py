"""SDK clients as a user makes them: base URL and key, nothing else, and no retries, so that one call is one call."""

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types

# The default of ten minutes would let one hanging call hang the suite.
TIMEOUT_S = 30


class Wire:
    """The bodies that an SDK sent and received, byte for byte; give its `client()` to the SDK."""

    def __init__(self):
        self.sent: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    def _request(self, request: httpx2.Request):
        self.sent.append(request.read())

    def _response(self, response: httpx2.Response):
        self.headers.append({name.lower(): value for name, value in response.headers.items()})

    def client(self) -> httpx2.Client:
        hooks = {"request": [self._request], "response": [self._response]}
        return httpx2.Client(timeout=TIMEOUT_S, event_hooks=hooks)


def openai_client(url: str, key: str, wire: Wire | None = None, **more) -> openai.OpenAI:
    http = wire.client() if wire else None
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=TIMEOUT_S, http_client=http, **more)


def anthropic_client(url: str, key: str, wire: Wire | None = None, **more) -> anthropic.Anthropic:
    http = wire.client() if wire else None
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=TIMEOUT_S, http_client=http, **more)


def genai_client(url: str, key: str, wire: Wire | None = None, **more) -> genai.Client:
    """Hold it: a client that nobody holds any more is closed, although a call of it is under way."""
    options = types.HttpOptions(base_url=url, timeout=TIMEOUT_S * 1000, httpx_client=wire.client() if wire else None, **more)
    return genai.Client(api_key=key, http_options=options)


# A tool in the form of each SDK.
OPENAI_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
RESPONSES_TOOL = {"type": "function", **OPENAI_TOOL["function"]}
ANTHROPIC_TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": OPENAI_TOOL["function"]["parameters"],
}
GENAI_TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="The weather in a city.",
            parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]),
        )
    ]
)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
