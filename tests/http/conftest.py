"""A daemon with its HTTP endpoint open, once for a file of tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from oblix.testing import OpenAIServer
from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc
from support.drivers import daemon
from support.endpoint import CONFIG, Served


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[Served]:
    """One for all tests of a file that leave its model as they found it."""
    with serving() as one:
        yield one


@pytest.fixture
def fresh() -> Iterator[Served]:
    """One for a test after which the model is left alone for a while."""
    with serving() as one:
        yield one


@pytest.fixture(scope="session")
def serving_with() -> Callable[[str], AbstractContextManager[Served]]:
    """Make one with more settings of `[http]`."""
    return serving


@contextmanager
def serving(more: str = "") -> Iterator[Served]:
    home = Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp"))
    key = home / "credentials" / "openai-api-key"
    key.parent.mkdir(mode=0o700)
    key.write_text("sk-behind")
    with OpenAIServer(["small"], api_key="sk-behind") as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url) + more)
        with daemon.run_daemon(home, CREDENTIALS_DIRECTORY=os.fspath(key.parent)) as running:
            stub = endpoint_pb2_grpc.EndpointServiceStub(running.channel)
            url = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
            token = stub.CreateToken(endpoint_pb2.CreateTokenRequest(name="test")).text
            with ExitStack() as clients:
                yield Served(url, token, stub, server, running, clients)
    shutil.rmtree(home)
