"""The HTTP edge: OpenAI's, Anthropic's and Ollama's APIs in front of the same executions.

`HttpEndpoint` is what the wiring uses. A dialect translates requests and answers and knows no network;
`exchange` runs one prompt for one request; `guard` decides who may call.
"""

from oblixd.http.endpoint import DEFAULT_PORT, HOST, HttpEndpoint, HttpListener, HttpSettings
from oblixd.http.names import ModelNames
from oblixd.http.tokens import Token, TokenStore

__all__ = [
    "DEFAULT_PORT",
    "HOST",
    "HttpEndpoint",
    "HttpListener",
    "HttpSettings",
    "ModelNames",
    "Token",
    "TokenStore",
]
