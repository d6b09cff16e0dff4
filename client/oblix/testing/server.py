"""What the test servers share: a life, a script, and a log of what was asked."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from oblix.testing.answers import Answer, echo
from oblix.testing.exchange import Exchange, GoneError, Received, wait_readable
from oblix.testing.faults import Dribble, InsteadOfAnswer, InStream


@dataclass(frozen=True)
class Frames:
    """An answer in a wire format, frame by frame."""

    first: bytes
    """Sent before the first token. May be empty."""
    tokens: list[bytes]
    """A frame for each token: the reasoning, the text, then the tool calls."""
    last: bytes
    """Sent after the last token: the format's last word."""


class ModelServer(ABC):
    """A model's server on a real socket of this machine, in threads of its own.

        with OllamaServer() as server:
            server.script("Hello!")
            ...  # point a program at server.url

    It speaks the real wire format, so the provider's own client can talk to it,
    too. What nobody scripted is answered with an echo of the question, the same
    every time. Every method can be called from any thread.
    """

    content_type: str
    """Of a streamed answer."""
    prompt_path: str
    """Where prompts are posted."""

    def __init__(self, models: Iterable[str], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.models = list(models)
        """What it serves. Asked for another one, it says that it does not have it."""
        self.requests: list[Received] = []
        """The prompts that it got, oldest first."""
        self.calls: list[Received] = []
        """Everything that it was asked, the prompts among it: what models there are, what they can."""
        self.default: Callable[[str], Answer] = echo
        """Makes the answer to a question where none is scripted."""
        self.embedding_fault: InsteadOfAnswer | None = None
        """How it misbehaves with every request for embeddings. None: not at all."""
        self._script: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._closing, self._closer = socket.socketpair()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._http = _Listener((host, port), functools.partial(_Handler, self))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens, as a program is told."""
        return f"http://{self._http.server_address[0]!s}:{self.port}"

    def start(self) -> Self:
        """Begin to serve. `with` does it."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving; connections that are open are closed."""
        self._closed = True
        self._closer.close()
        if self._thread.ident is not None:
            self._thread.join()
        for connection in list(self._open):
            _shut(connection)
        # Waits for the threads of the connections.
        self._http.server_close()
        self._closing.close()

    def script(self, *answers: Answer | str) -> None:
        """Say what the next answers are, in order."""
        self._script.extend(Answer(one) if isinstance(one, str) else one for one in answers)

    def wait_for_requests(self, count: int, timeout_s: float = 60.0) -> list[Received]:
        """Wait until so many prompts came, and give them all. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self.requests)} prompts came within {timeout_s:g} s, not {count}")
            return list(self.requests)

    def wait_for_call(self, path: str, timeout_s: float = 60.0) -> Received:
        """Wait until something was asked at a path, and give the newest of it. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(one.path == path for one in self.calls), timeout_s):
                raise TimeoutError(f"nothing was asked at {path} within {timeout_s:g} s")
            return next(one for one in reversed(self.calls) if one.path == path)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def route(self, exchange: Exchange) -> None:
        """Answer one request."""

    @abstractmethod
    def frames(self, request: dict[str, Any], answer: Answer) -> Frames:
        """Write an answer in this server's format, streamed."""

    @abstractmethod
    def error(self, status: int, message: str) -> bytes:
        """Write an error in this server's format, as a body."""

    @abstractmethod
    def error_in_stream(self, message: str) -> bytes:
        """Write an error in this server's format, as a frame of a stream."""

    def next_answer(self, question: str) -> Answer:
        """Take the next answer of the script, or make one."""
        return self._script.popleft() if self._script else self.default(question)

    def play(self, exchange: Exchange, answer: Answer) -> None:
        """Stream an answer, with its fault."""
        fault = answer.fault
        if isinstance(fault, InsteadOfAnswer):
            fault.strike(exchange, self.error(fault.status, fault.message))
            return
        exchange.slice = fault.bytes_at_once if isinstance(fault, Dribble) else None
        exchange.start(self.content_type, answer.headers)
        for number, frame in enumerate(self._pace(exchange, answer)):
            if isinstance(fault, InStream) and number == fault.after and not self._goes_on(exchange, fault):
                return
            exchange.chunk(frame)
        exchange.end()

    def embed(self, exchange: Exchange, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Answer a request for embeddings, or misbehave."""
        if (fault := self.embedding_fault) is not None:
            fault.strike(exchange, self.error(fault.status, fault.message))
        else:
            exchange.send_json(200, answer(exchange.received.body))

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Take one request off a connection and answer it."""
        exchange = Exchange(handler, self._closing)
        with self._changed:
            self.calls.append(exchange.received)
            if exchange.received.path.endswith(self.prompt_path):
                self.requests.append(exchange.received)
            self._changed.notify_all()
        try:
            if handler.command == "POST" and not _names_a_model(exchange.received.body):
                exchange.send(400, self.error(400, "the body is not a JSON object that names a model"))
            else:
                self.route(exchange)
        except GoneError:
            exchange.received.abandoned.set()
            handler.close_connection = True
        finally:
            exchange.received.done.set()

    def connected(self, connection: socket.socket) -> None:
        """Note a connection, so that `close` can close it."""
        self._open.add(connection)
        if self._closed:
            _shut(connection)

    def disconnected(self, connection: socket.socket) -> None:
        """Forget a connection."""
        self._open.discard(connection)

    def _serve(self) -> None:
        watched: list[socket.socket] = [self._http.socket, self._closing]
        while self._closing not in wait_readable(watched, None):
            self._http.handle_request()

    def _goes_on(self, exchange: Exchange, fault: InStream) -> bool:
        return fault.strike(exchange, self.error_in_stream(fault.message))

    def _pace(self, exchange: Exchange, answer: Answer) -> Iterator[bytes]:
        frames = self.frames(exchange.received.body, answer)
        exchange.wait(answer.first_token_s)
        if frames.first:
            exchange.chunk(frames.first)
        for frame in frames.tokens:
            yield frame
            exchange.wait(answer.pause_s)
        yield frames.last


class _Listener(ThreadingHTTPServer):
    # A thread ends when its connection is closed. They are waited for, so that nothing is left behind.
    daemon_threads = False
    request_queue_size = 1024


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, owner: ModelServer, *arguments: Any) -> None:
        self._owner = owner
        super().__init__(*arguments)

    def setup(self) -> None:
        super().setup()
        self._owner.connected(self.connection)

    def finish(self) -> None:
        self._owner.disconnected(self.connection)
        super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        self._owner.handle(self)

    def do_POST(self) -> None:
        self._owner.handle(self)

    def log_message(self, *_: Any) -> None:
        """Say nothing: tests read `ModelServer.requests`."""


def _names_a_model(body: Any) -> bool:
    return isinstance(body, dict) and isinstance(body.get("model"), str)


def _shut(connection: socket.socket) -> None:
    # Its own thread may have closed it by now.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
