"""The HTTP edge: OpenAI's, Anthropic's and Ollama's APIs in front of the same executions.

`HttpListener` is what the wiring uses. `endpoint` holds the routes; a dialect translates requests and
answers and knows no network; `exchange` runs one prompt for one request; `guard` decides who may call.
"""

from oblixd.http.listener import HttpListener
from oblixd.http.names import ModelNames
from oblixd.http.settings import HttpServices, HttpSettings

__all__ = ["HttpListener", "HttpServices", "HttpSettings", "ModelNames"]
