"""Reads the command line, runs one command, and turns errors into one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import oblix
from oblix._convert.terminal_text import Plain
from oblix.cli import version
from oblix.cli.errors import CommandError, error_text
from oblix.cli.options import session_ids
from oblix.cli.parser import suggestion
from oblix.cli.table import COMMANDS, FIRST_STEPS, overview, parse

EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141
DEBUG = "--debug"
"""Before a command: its error is told with where it came from."""
UNGREETED = frozenset({"restart", "stop"})
"""Commands that end the daemon: what version runs does not matter to them."""
LONG_OPTIONS_OF_ASK = (
    "--continue",
    "--copy",
    "--docs",
    "--extract",
    "--file",
    "--image",
    "--last",
    "--local-only",
    "--model",
    "--new",
    "--no-session",
    "--param",
    "--policy",
    "--schema",
    "--session",
    "--system",
    "--template",
    "--tools",
    "--verbose",
)
OF_ASK = frozenset({"-", *(f"-{letter}" for letter in "cfmnpsTtvx"), *LONG_OPTIONS_OF_ASK})
"""What begins a question without the word `ask`, as do several words in quotes."""
ENDS_OF_QUESTIONS = ("?", ":", ".", "!")
"""What ends one word that is a question, and no command."""


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
    is_debug = list(words[:1]) == [DEBUG]
    try:
        return _run(words[1:] if is_debug else words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except CommandError as error:
        _explain(error, is_debug=is_debug)
        return _fail(str(error))
    except oblix.OblixError as error:
        _explain(error, is_debug=is_debug)
        return _fail(error_text(error))
    except OSError as error:
        _explain(error, is_debug=is_debug)
        _drop_output()
        return _fail(f"{error.filename or 'standard output'}: {error.strerror}.")


def _explain(error: Exception, *, is_debug: bool) -> None:
    """Print where an error came from, and what the daemon said of it to programs."""
    if not is_debug:
        return
    import traceback

    traceback.print_exception(error)
    if isinstance(error, oblix.OblixError):
        print(f"reason: {error.reason or 'none'}; metadata: {dict(error.metadata)}", file=sys.stderr)


def _open_missing_streams() -> None:
    """Replace a stream that the shell closed (`>&-`), so that no socket takes its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _drop_output() -> None:
    """Drop what is still buffered: the interpreter's last flush must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(why: str) -> int:
    from oblix.cli.output import tables

    print(tables.fit(f"oblix: {why}"), file=sys.stderr)
    return EXIT_FAILURE


def _run(words: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        # An answer may hold what the terminal's encoding has no sign for.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name in ("stdout", "stderr"):
        if not isinstance(stream := getattr(sys, name), Plain):
            setattr(sys, name, Plain(stream))
    code = _dispatch(words)
    sys.stdout.flush()
    return code


def _dispatch(words: Sequence[str]) -> int:
    match list(words):
        case []:
            print(FIRST_STEPS)
        case ["--help" | "-h" | "help"]:
            print(overview())
        case ["--version" | "-V"]:
            print(f"oblix {version()}")
        case ["help", *rest]:
            return _dispatch([*rest, "--help"])
        case [name, *rest] if name in COMMANDS:
            return _run_command(name, rest)
        case [name, *_] if " " in name.strip() or name.endswith(ENDS_OF_QUESTIONS) or _is_of_ask(name):
            return _run_command("ask", words)
        case [name, *_]:
            return _refuse(name)
    return 0


def _is_of_ask(word: str) -> bool:
    return word.partition("=")[0] in OF_ASK


def _run_command(name: str, words: Sequence[str]) -> int:
    arguments = parse(name, words)
    if name not in UNGREETED:
        from oblix.cli import daemon

        daemon.note_other_version(version())
    session_ids.resolve(arguments)
    code: int = arguments.run(arguments) or 0
    return code


def _refuse(name: str) -> int:
    """Tell that there is no such command, and which one may be meant."""
    what = f"option {name.partition('=')[0]}" if name.startswith("-") else f"command {name!r}"
    known = ["--version", "--help", DEBUG, *LONG_OPTIONS_OF_ASK] if name.startswith("-") else COMMANDS
    near = suggestion(name.partition("=")[0], known)
    question = f' `oblix ask "{name}"` asks it.' if name.isalpha() and not near else ""
    print(f"oblix: there is no {what}.{near}{question}\n`oblix help` lists the commands.", file=sys.stderr)
    return EXIT_USAGE
