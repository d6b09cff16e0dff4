"""The parts of a company's network: its own authority, its proxy, and gateways in front of models."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from oblix.testing import OpenAIServer
from oblix.testing.exchange import Exchange

WAIT_S = 60.0


class Authority:
    """A certificate authority of a company's own."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(organization_name="Example Company")
        self.file = folder / "company-ca.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def context(self, *names: str) -> ssl.SSLContext:
        """What a server shows that has these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context


class Gateway(OpenAIServer):
    """A server of OpenAI's calls under another path, with another header, behind TLS where it is wanted."""

    def __init__(
        self,
        models: list[str],
        *,
        prefix: str = "/v1",
        header: tuple[str, str] | None = None,
        query: str = "",
        tls: ssl.SSLContext | None = None,
        refuses: tuple[str, ...] = (),
    ) -> None:
        super().__init__(models)
        self.prefix, self.header, self.query, self.tls = prefix, header, query, tls
        self.refuses = refuses
        self.prompt_path = f"{prefix}/chat/completions{'?' + query if query else ''}"
        if tls is not None:
            self._http.socket = tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def url(self) -> str:
        """Scheme, host and port alone."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def route(self, exchange: Exchange) -> None:
        """Answer where the path, the parameters and the key are right."""
        received = exchange.received
        path, _, query = received.path.partition("?")
        if self.header and received.headers.get(self.header[0].lower()) != self.header[1]:
            exchange.send(401, self.error(401, "Access denied due to invalid subscription key."))
        elif query != self.query:
            exchange.send(404, b'{"error":{"code":"404","message":"Resource not found"}}')
        elif (received.method, path) == ("POST", f"{self.prefix}/chat/completions"):
            self._take(exchange)
        elif (received.method, path) == ("GET", f"{self.prefix}/models"):
            exchange.send_json(200, {"data": [{"id": name, "object": "model"} for name in self.models]})
        else:
            exchange.send(404, b"404 page not found", {"Content-Type": "text/plain"})

    def _take(self, exchange: Exchange) -> None:
        if wrong := next((name for name in self.refuses if name in exchange.received.body), None):
            exchange.send(400, self.error(400, f"Unsupported parameter: '{wrong}' is not supported."))
            return
        self._complete(exchange)


PROXY = """
import socket, sys
known = socket.getaddrinfo
def resolve(host, *rest, **more):
    # Only those inside the company know these names.
    inside = isinstance(host, str) and host.endswith((".test", ".azure.com"))
    return known("127.0.0.1" if inside else host, *rest, **more)
socket.getaddrinfo = resolve
import proxy
proxy.main()
"""


@contextmanager
def proxy(folder: Path, *, user: str = "") -> Iterator[Proxy]:
    """A real proxy (proxy.py) in a process of its own, which knows names that nobody else knows.

    `user`: the user and the password that it wants, with a colon between them.
    """
    made = Proxy(folder / "proxy.port", folder / "proxy.log", user)
    words = ["--hostname", "127.0.0.1", "--port", "0", "--port-file", str(made.port_file)]
    words += ["--num-workers", "1", "--num-acceptors", "1", "--log-file", str(made.log)]
    words += ["--basic-auth", user] if user else []
    process = subprocess.Popen(
        [sys.executable, "-c", PROXY, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        made.wait(process)
        yield made
    finally:
        process.terminate()
        process.wait(WAIT_S)


class Proxy:
    """A proxy that runs, and what it wrote of those who came."""

    def __init__(self, port_file: Path, log: Path, user: str) -> None:
        self.port_file, self.log, self.user = port_file, log, user

    @property
    def url(self) -> str:
        """Its URL, with the user and the password that it wants."""
        port = self.port_file.read_text().strip()
        return f"http://{self.user + '@' if self.user else ''}127.0.0.1:{port}"

    def log_text(self) -> str:
        """What it logged: one line for each connection that has ended."""
        return self.log.read_text() if self.log.exists() else ""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it listens."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                port = int(self.port_file.read_text().strip())
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.05)  # nothing announces that it listens
        raise AssertionError("the proxy does not listen")
