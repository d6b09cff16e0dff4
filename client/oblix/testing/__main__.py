"""Run a test server from a shell until it is interrupted.

python -m oblix.testing ollama --port 11434 --model llama2
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from oblix.testing.answers import Answer, echo
from oblix.testing.claude import ClaudeServer
from oblix.testing.ollama import OllamaServer
from oblix.testing.openai import OpenAIServer
from oblix.testing.server import ModelServer

LIBRARY_BYTES, PULL_PAUSE_S = 1_000_000_000, 0.4
"""A pull comes in ten pieces, so it takes long enough to be watched and interrupted."""
_KINDS = {"ollama": OllamaServer, "openai": OpenAIServer, "claude": ClaudeServer}


def main() -> None:
    """Serve until SIGINT or SIGTERM. The first line of output is the URL."""
    parser = _parser()
    options = parser.parse_args()
    if options.library and options.kind != "ollama":
        parser.error("--library belongs to ollama: the others pull nothing")
    # Threads inherit the mask, so the signals wait for the line below.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with _server(options) as server:
        server.default = _default(options.answer, options.tokens_per_second)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _server(options: argparse.Namespace) -> ModelServer:
    given: dict[str, Any] = {"models": options.model} if options.model else {}
    if options.library:
        given["library"] = dict.fromkeys(options.library, LIBRARY_BYTES)
    server: ModelServer = _KINDS[options.kind](**given, host=options.host, port=options.port)
    if isinstance(server, OllamaServer):
        server.pull_pause_s = PULL_PAUSE_S
    return server


def _default(text: str | None, tokens_per_second: float | None) -> Callable[[str], Answer]:
    def answer(question: str) -> Answer:
        base = echo(question) if text is None else Answer(text)
        return replace(base, tokens_per_second=tokens_per_second)

    return answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m oblix.testing", description="Serve a model for tests.")
    parser.add_argument("kind", choices=sorted(_KINDS), help="whose wire format it speaks")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (any free one)")
    parser.add_argument("--model", action="append", help="a model that it serves; can be repeated")
    parser.add_argument(
        "--library",
        metavar="NAME",
        nargs="+",
        default=[],
        help="ollama only: models that can be pulled (`oblix models pull ollama:NAME`), each of 1 GB and "
        "in a few seconds",
    )
    parser.add_argument("--answer", help="what it always says (an echo of the question)")
    parser.add_argument("--tokens-per-second", type=float, help="how fast (as fast as it is read)")
    return parser


if __name__ == "__main__":
    main()
