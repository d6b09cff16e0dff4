"""These tests need libraries that only the adapters' environment has: `make adapters`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from oblix.testing import OpenAIServer
from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc
from support.drivers import daemon

collect_ignore_glob = [] if find_spec("pydantic_ai") and find_spec("agents") else ["test_*.py"]
# Else litellm fetches its table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
CONFIGURATION = """[embedded]
enabled = false

[http]
port = 0

[[models]]
name = "small"
provider = "openai"
endpoint = "{url}"

[[models]]
name = "vectors"
provider = "openai"
endpoint = "{url}"
task = "embedding"
"""


@dataclass(frozen=True)
class Endpoint:
    """What a person gives to a library: a URL and a token; and the model's server behind it."""

    url: str
    token: str
    server: OpenAIServer

    @property
    def base_url(self) -> str:
        """The base URL of OpenAI's clients."""
        return f"{self.url}/v1"


@pytest.fixture(scope="module")
def open_daemon() -> Iterator[Endpoint]:
    """A daemon with its HTTP endpoint open, once for a file of tests."""
    home = Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp"))
    with OpenAIServer(["small", "vectors"]) as server:
        (home / "config.toml").write_text(CONFIGURATION.format(url=server.url))
        with daemon.run_daemon(home, OPENAI_API_KEY="sk-behind") as running:
            stub = endpoint_pb2_grpc.EndpointServiceStub(running.channel)
            url = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
            token = stub.CreateToken(endpoint_pb2.CreateTokenRequest(name="test")).text
            yield Endpoint(url, token, server)
    shutil.rmtree(home)


@pytest.fixture
def endpoint(open_daemon: Endpoint) -> Endpoint:
    """The same, with a model that nothing was asked yet."""
    open_daemon.server.requests.clear()
    return open_daemon
