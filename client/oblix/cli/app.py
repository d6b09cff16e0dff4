"""Reads the command line, runs one command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence

import oblix
from oblix.cli.errors import CommandError

COMMANDS = {
    "ask": "ask a model one question",
    "chat": "talk with a model at the terminal",
    "sessions": "list, read, make, delete, export and import conversations",
    "backup": "write everything that the daemon keeps to a file",
    "models": "list the models, or fetch the embedded one",
    "agents": "show what decides where a prompt goes",
    "status": "show the daemon, its models and this machine",
    "stop": "let the daemon finish what it does, and end it",
}
EPILOG = """exit codes: 0 done, 1 it failed (one line on standard error says why), 2 wrong usage,
130 interrupted by Ctrl-C, 141 whoever read our output has gone"""
EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code; wrong usage raises SystemExit(2), as argparse does."""
    words = sys.argv[1:] if argv is None else argv
    try:
        return _run(words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has nowhere to go: the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (CommandError, oblix.OblixError) as error:
        print(f"oblix: {error}", file=sys.stderr)
        return EXIT_FAILURE


def _run(words: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        # An answer may hold what the terminal's encoding has no sign for.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = _parser(words).parse_args(words)
    code: int = arguments.run(arguments) or 0
    sys.stdout.flush()
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
            importlib.import_module(f"oblix.cli.{name}").configure(group)
    return parser
