"""The web services of examples/, on real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from oblix.testing import Answer
from oblix.testing.pytest_plugin import PrivateDaemon
from support.drivers.waiting import wait_until
from support.repository import files

pytest.importorskip("fastapi")
pytest.importorskip("django")

pytestmark = pytest.mark.adapters


def load(name: str) -> ModuleType:
    """Return an example as a module."""
    spec = spec_from_file_location(f"example_{name}", files.ROOT / f"examples/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def uvicorn_of(app: Any) -> Iterator[httpx.Client]:
    """Serve an ASGI application."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wsgi_of(app: Any) -> Iterator[httpx.Client]:
    """Serve a WSGI application, each request in a thread."""
    with make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=60) as client:
                yield client
        finally:
            server.shutdown()
            thread.join()


def test_fastapi_shares_one_client(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.model.default = lambda _: Answer("Snow, they say.")
    with uvicorn_of(load("fastapi_app").app) as client, ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda user: client.get(f"/chats/user-{user}", params={"question": "Weather?"}).text, range(8)
        )
        assert list(answers) == ["Snow, they say."] * 8
        assert client.get("/chats/user-1", params={"question": "And tomorrow?"}).status_code == 200
    with oblix_daemon.client() as reader:
        assert len(reader.sessions.list(metadata={"app": "service"}).all()) == 8
        assert len(reader.sessions.messages("user-1").all()) == 4


def test_a_browser_that_goes_away_cancels_its_answer(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script(Answer(" ".join(["word"] * 3000), tokens_per_second=50))
    with uvicorn_of(load("fastapi_app").app) as client:
        with client.stream("GET", "/chats/ann", params={"question": "Long?"}) as response:
            assert next(response.iter_text())
        with oblix_daemon.client() as reader:
            wait_until(lambda: reader.sessions.messages("ann").all()[-1].status == "cancelled")


def test_django_shares_one_client(oblix_daemon: PrivateDaemon) -> None:
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.urls import path

    view = load("django_view")
    urls = ModuleType("urls")
    urls.urlpatterns = [path("ask/<user>", view.ask), path("history/<user>", view.history)]
    settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["127.0.0.1"], DEBUG=True)
    django.setup()
    oblix_daemon.model.default = lambda _: Answer("Snow, they say.")
    with wsgi_of(WSGIHandler()) as client, ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda user: client.get(f"/ask/user-{user}", params={"question": "Weather?"}).text, range(8)
        )
        assert list(answers) == ["Snow, they say."] * 8
        said = client.get("/history/user-1").json()["messages"]
        assert [message["content"] for message in said] == ["Weather?", "Snow, they say."]
        assert client.get("/history/nobody").json() == {"messages": []}
    view.client.close()
