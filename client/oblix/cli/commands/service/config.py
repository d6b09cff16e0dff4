"""`oblix config`: the daemon's settings, to see and to change."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from oblix.cli import daemon
from oblix.cli.errors import CommandError
from oblix.cli.options.json_output import add_json
from oblix.cli.output import tables
from oblix.cli.parser import suggestion
from oblix.v1 import daemon_pb2

DAEMON = "oblixd"
"""What it puts before what it says."""
WRITES = {"set", "unset", "edit", "import-environment"}
"""Actions after which a running daemon reads the file again."""
SOURCES = {
    daemon_pb2.CONFIG_SOURCE_DEFAULT: "default",
    daemon_pb2.CONFIG_SOURCE_FILE: "file",
    daemon_pb2.CONFIG_SOURCE_ENVIRONMENT: "environment",
}
COLUMNS = {"key": "SETTING", "value": "VALUE", "source": "FROM", "live": "CHANGES"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments and the actions."""
    parser.add_argument("--json", action="store_true", help="print the settings as JSON")
    parser.add_argument(
        "--changed", action="store_true", help="show only settings that differ from the default"
    )
    parser.epilog = (
        "Without a subcommand, it shows every setting of the running daemon. "
        "docs/reference/configuration.md explains each setting."
    )
    parser.set_defaults(run=_show)
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    get = _add(actions, "get", "print one setting", "key")
    add_json(get, "print it with where it comes from, as JSON", is_default=False)
    _add(actions, "set", "change one setting, and have the daemon take it over", "key", "value")
    _add(actions, "unset", "take a setting out of the file, so that its default counts", "key")
    _add(actions, "edit", "open the file in $VISUAL or $EDITOR, and check it afterwards")
    validate = _add(actions, "validate", "check the file, or another one, without changing anything")
    validate.add_argument("file", nargs="?", metavar="FILE")
    add_json(validate, "print what is wrong as JSON", is_default=False)
    _add(actions, "path", "print where the file is")
    _add(actions, "init", "write a file with every setting as a comment, where there is none")
    _add(actions, "import-environment", "take over HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and the like")


def of_daemon(*words: str, stdin: str | None = None) -> int:
    """Run `oblixd config WORDS`, which needs no running daemon. Gives 0, or 1 where it said what failed."""
    command = [sys.executable, "-P", "-m", "oblixd", "config", *words]
    sys.stdout.flush()
    # An editor needs the terminal itself.
    stderr = None if words[0] == "edit" else subprocess.PIPE
    done = subprocess.run(command, check=False, input=stdin, text=True, stderr=stderr)
    print((done.stderr or "").replace(f"{DAEMON}: ", "oblix: "), end="", file=sys.stderr)
    return 1 if done.returncode else 0


def read_of_daemon(*words: str) -> str:
    """Run `oblixd config WORDS`, and give what it printed. Raises CommandError with what it said."""
    command = [sys.executable, "-P", "-m", "oblixd", "config", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CommandError(done.stderr.strip().removeprefix(f"{DAEMON}: ") or "oblixd config failed.")
    return done.stdout


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, *words: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    for word in words:
        action.add_argument(word, metavar=word.upper())
    action.set_defaults(
        run=lambda arguments: _run(name, [getattr(arguments, word) for word in words], arguments)
    )
    return action


def _run(action: str, words: Sequence[str], arguments: argparse.Namespace) -> int:
    if arguments.json and action == "get":
        return _show_one(words[0])
    if arguments.json and action == "validate":
        return _show_validity(arguments.file)
    file = [arguments.file] if getattr(arguments, "file", None) else []
    code = of_daemon(action, *(["--", *words] if words else []), *file)
    if code == 0 and action in WRITES and daemon.is_running():
        daemon.reload()
    return code


def _show_one(key: str) -> int:
    rows = _of_daemon() if daemon.is_running() else _of_file()
    found = [row for row in rows if row["key"] == key]
    if not found:
        near = suggestion(key, [row["key"] for row in rows])
        raise CommandError(f"there is no setting {key}.{near} `oblix config` lists them.")
    value = json.loads(found[0]["value"])
    tables.show_json({"key": key, "value": value, "source": found[0]["source"]})
    return 0


def _show_validity(file: str | None) -> int:
    try:
        read_of_daemon("validate", *([file] if file else []))
    except CommandError as error:
        tables.show_json({"valid": False, "problem": str(error)})
        return 1
    tables.show_json({"valid": True, "problem": None})
    return 0


def _show(arguments: argparse.Namespace) -> None:
    rows = _of_daemon() if daemon.is_running() else _of_file()
    if arguments.changed:
        rows = [row for row in rows if row["source"] != "default"]
    if arguments.json:
        values = {row["key"]: {"value": json.loads(row["value"]), "source": row["source"]} for row in rows}
        tables.show_json(values)
        return
    tables.show_rows(rows, COLUMNS)


def _of_daemon() -> list[dict[str, str]]:
    """Read the settings that count in the running daemon."""
    transport = daemon.running_daemon()
    answer = transport.call(lambda link: link.daemon.GetConfig, daemon_pb2.GetConfigRequest())
    for notice in answer.notices:
        print(f"oblix: {notice}", file=sys.stderr)
    return [_row(one.key, one.value_json, SOURCES[one.source], one.live) for one in answer.settings]


def _of_file() -> list[dict[str, str]]:
    """Read the settings that the next daemon will use."""
    print("oblix: no daemon runs; this is what the next one reads.", file=sys.stderr)
    settings = json.loads(read_of_daemon("show", "--json"))
    return [
        _row(key, json.dumps(one["value"], ensure_ascii=False), one["source"], one["live"])
        for key, one in settings.items()
    ]


def _row(key: str, value: str, source: str, live: bool) -> dict[str, str]:
    changes = "at once" if live else "after a restart"
    return {"key": key, "value": value, "source": source, "live": changes}
