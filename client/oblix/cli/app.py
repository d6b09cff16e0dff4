"""Reads the command line, runs one command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import oblix
from oblix._convert.terminal_text import Plain
from oblix.cli.errors import CommandError, error_text

COMMANDS = {
    "ask": "ask a model one question",
    "chat": "talk with a model at the terminal",
    "attach": "go on with an answer that runs in the daemon, or ended there",
    "ps": "list the answers that wait, run, or ended lately",
    "cancel": "end answers that run or wait",
    "explain": "tell where a prompt would go, or a session's prompts went, and why",
    "sessions": "find, read, keep in order, export and import conversations",
    "import": "take in the conversations that other tools keep on this machine",
    "backup": "write everything that the daemon keeps to a file",
    "usage": "show what was used, and what it cost",
    "models": "list the models, or fetch the embedded one",
    "server": "open the HTTP endpoint for tools that speak OpenAI's, Anthropic's or Ollama's APIs",
    "connect": "make a token and the settings by which such a tool finds the endpoint",
    "tokens": "list, make and revoke the tokens of programs that call over TCP or HTTP",
    "run": "start such a tool with its settings, and write nothing",
    "acp": "be an agent for an editor: the Agent Client Protocol over standard input and output",
    "mcp": "show an agent your conversations: the Model Context Protocol over standard input and output",
    "agents": "show what decides where a prompt goes",
    "status": "show the daemon, its models and this machine",
    "doctor": "find what is wrong with this installation, and how to mend it",
    "metrics": "print the daemon's numbers in the text format of Prometheus",
    "top": "watch the machine, the models and the running executions",
    "plot": "draw a picture of the last minutes: load, network, where prompts went",
    "config": "show the daemon's settings, and change them",
    "reload": "have the daemon read its configuration again",
    "service": "have the daemon run from login on, watched by the service manager",
    "stop": "let the daemon finish what it does, and end it",
    "restart": "end the daemon, and start the version that is installed",
}
MODULES = {"import": "importing"}
"""Commands whose names are no names of modules."""
EPILOG = """exit codes: 0 done, 1 it failed (one line on standard error says why), 2 wrong usage,
130 interrupted by Ctrl-C, 141 whoever read our output has gone"""
EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 130, 141


def main() -> NoReturn:
    """Run one command, and end the process with its exit code.

    At once: the threads of gRPC that still run can hold up the interpreter's own end for ever
    (github.com/grpc/grpc/issues/20026), and nothing that a command leaves needs it.
    """
    try:
        code: object = run(sys.argv[1:])
    except SystemExit as end:  # argparse's: 0 for help, 2 for wrong usage
        code = end.code
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = EXIT_BROKEN_PIPE
    os._exit(code if isinstance(code, int) else EXIT_FAILURE)


def run(words: Sequence[str]) -> int:
    """Run one command. Returns its exit code; wrong usage raises SystemExit(2), as argparse does."""
    _open_missing_streams()
    try:
        return _run(words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except CommandError as error:
        return _fail(str(error))
    except oblix.OblixError as error:
        return _fail(error_text(error))
    except OSError as error:
        _drop_output()
        return _fail(f"{error.filename or 'standard output'}: {error.strerror}.")


def _open_missing_streams() -> None:
    """What goes to a stream that the shell closed (`>&-`) is dropped, and no socket takes its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _drop_output() -> None:
    """What is still buffered has nowhere to go: the interpreter's last flush must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(why: str) -> int:
    print(f"oblix: {why}", file=sys.stderr)
    return EXIT_FAILURE


def _run(words: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        # An answer may hold what the terminal's encoding has no sign for.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name in ("stdout", "stderr"):
        if not isinstance(stream := getattr(sys, name), Plain):
            setattr(sys, name, Plain(stream))
    arguments = _parser(words).parse_args(words)
    if words[0] not in {"restart", "stop"}:
        from oblix.cli import daemon

        daemon.note_other_version(importlib.metadata.version("oblix"))
    code: int = arguments.run(arguments) or 0
    sys.stdout.flush()
    return code


class _Parser(argparse.ArgumentParser):
    """Refuses what it does not know by itself, so the usage that is shown is that of the command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="oblix",
        description="Talk to language models through the one daemon that this user's programs share.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("oblix")
    parser.add_argument("--version", action="version", version=f"oblix {version}")
    groups = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    wanted = next((word for word in words if not word.startswith("-")), "")
    for name, summary in COMMANDS.items():
        group = groups.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        # Only the command that runs is loaded: the client behind it takes most of the start.
        if name == wanted:
            importlib.import_module(f"oblix.cli.commands.{MODULES.get(name, name)}").configure(group)
    return parser
