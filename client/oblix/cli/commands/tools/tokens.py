"""`oblix tokens`: who may call over TCP and over the HTTP endpoint."""

from __future__ import annotations

import argparse
import os
import sys

from oblix.cli import daemon
from oblix.cli.errors import CommandError
from oblix.cli.options.json_output import add_json
from oblix.cli.output import tables
from oblix.v1 import endpoint_pb2

SCOPES = ("read", "execute", "admin")
COLUMNS = {"name": "TOKEN", "scope": "MAY", "reach": "REACHES", "created": "CREATED"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments and the actions."""
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.epilog = (
        "Without a subcommand, it lists the tokens. `create` prints a token's text once; the daemon keeps "
        "only a hash of it. The scope `read` allows reading, `execute` also prompts and changes of "
        "conversations, and `admin` everything. Calls over the socket need no token."
    )
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    listing = actions.add_parser("list", help="list the tokens (the default)")
    add_json(listing, "print them as JSON", is_default=False)
    create = actions.add_parser("create", help="make a token, and print its text")
    create.add_argument("name", metavar="NAME", help="who uses it")
    create.add_argument("--scope", choices=SCOPES, default="execute", help="what it may do (default execute)")
    create.add_argument("--local-only", action="store_true", help="let its prompts reach local models only")
    create.add_argument("--file", metavar="FILE", help="write its text to a file that only you can read")
    add_json(create, "print it as JSON", is_default=False)
    create.set_defaults(run=_create)
    revoke = actions.add_parser("revoke", help="end a token: it is refused from now on")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(run=_revoke)


def _list(arguments: argparse.Namespace) -> None:
    answer = daemon.any_daemon().call(lambda link: link.endpoint.ListTokens, endpoint_pb2.ListTokensRequest())
    if arguments.json:
        tables.show_json([_entry(token) for token in answer.tokens])
        return
    rows = [_row(token) for token in answer.tokens]
    if not rows and sys.stdout.isatty():
        print("There is no token; `oblix tokens create NAME` makes one.")
    tables.show_rows(rows, COLUMNS)


def _create(arguments: argparse.Namespace) -> None:
    request = endpoint_pb2.CreateTokenRequest(
        name=arguments.name,
        local_only=arguments.local_only,
        scope=endpoint_pb2.TokenScope.Value(f"TOKEN_SCOPE_{arguments.scope.upper()}"),
    )
    text = daemon.any_daemon().call(lambda link: link.endpoint.CreateToken, request).text
    if not arguments.file:
        _tell(arguments, {"token": text}, text)
        return
    try:
        descriptor = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _end(arguments.name)
        raise CommandError(f"{arguments.file}: {error.strerror}. No token was made.") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    told = f"The token {arguments.name} is in {arguments.file}, which only you can read."
    _tell(arguments, {"file": arguments.file}, told)


def _tell(arguments: argparse.Namespace, where: dict[str, str], text: str) -> None:
    if arguments.json:
        about = {"name": arguments.name, "scope": arguments.scope, "local_only": arguments.local_only}
        tables.show_json(about | where)
    else:
        print(text)


def _revoke(arguments: argparse.Namespace) -> None:
    _end(arguments.name)
    print(f"The token {arguments.name} is revoked.")


def _end(name: str) -> None:
    request = endpoint_pb2.RevokeTokenRequest(name=name)
    daemon.any_daemon().call(lambda link: link.endpoint.RevokeToken, request)


def _entry(token: endpoint_pb2.Token) -> dict[str, object]:
    return {
        "name": token.name,
        "scope": _scope(token),
        "local_only": token.local_only,
        "created": token.create_time.ToJsonString(),
    }


def _row(token: endpoint_pb2.Token) -> dict[str, str]:
    return {
        "name": token.name,
        "scope": _scope(token),
        "reach": "local models only" if token.local_only else "all models",
        "created": tables.local_time(token.create_time.ToJsonString()),
    }


def _scope(token: endpoint_pb2.Token) -> str:
    return tables.word(endpoint_pb2.TokenScope.Name(token.scope), "TOKEN_SCOPE_")
