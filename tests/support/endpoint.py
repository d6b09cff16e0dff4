"""A daemon with its HTTP endpoint open, in front of a model server that follows a script."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from dataclasses import dataclass

import anthropic
import httpx
import ollama
import openai
from oblix.testing import OpenAIServer
from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc
from support.drivers.daemon import RunningDaemon

MODEL = "openai:small"
WAIT_S = 60.0
TRUST = ssl.create_default_context()
"""One for all clients: each would read the certificates of all authorities."""
CONFIG = """
[openai]
endpoint = "{url}"
models = ["small"]
[embedded]
enabled = false
[http]
port = 0
origins = ["http://good.example"]
aliases = [{{name = "gpt-4o", model = "openai:small"}}, {{name = "claude-sonnet", model = "auto"}}]
"""


@dataclass(frozen=True)
class Served:
    """The endpoint as a tool gets to know it, and the server behind it."""

    url: str
    token: str
    stub: endpoint_pb2_grpc.EndpointServiceStub
    server: OpenAIServer
    daemon: RunningDaemon
    clients: ExitStack
    """Closes the clients at the end."""

    def openai(self) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(verify=TRUST)
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.token, max_retries=0, http_client=http)
        return self.clients.enter_context(client)

    def anthropic(self) -> anthropic.Anthropic:
        http = anthropic.DefaultHttpxClient(verify=TRUST)
        client = anthropic.Anthropic(base_url=self.url, api_key=self.token, max_retries=0, http_client=http)
        return self.clients.enter_context(client)

    def ollama(self) -> ollama.Client:
        client = ollama.Client(host=self.url, headers={"Authorization": f"Bearer {self.token}"}, verify=TRUST)
        self.clients.callback(client._client.close)
        return client

    def http(self, token: str = "", **headers: str) -> httpx.Client:
        authorization = {"Authorization": f"Bearer {token or self.token}"}
        # A busy machine takes its time.
        client = httpx.Client(
            base_url=self.url, headers={**authorization, **headers}, timeout=WAIT_S, verify=TRUST
        )
        return self.clients.enter_context(client)

    def new_token(self, name: str, *, local_only: bool = False) -> str:
        request = endpoint_pb2.CreateTokenRequest(name=name, local_only=local_only, replace=True)
        return self.stub.CreateToken(request).text
