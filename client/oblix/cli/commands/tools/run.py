"""`oblix run`: start a tool so that it uses the daemon, and write nothing."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from oblix.cli import daemon
from oblix.cli.commands.tools.connect import fill
from oblix.cli.commands.tools.settings import OTHER_NAMES, TOOLS, WRITES_NOTHING
from oblix.cli.errors import CommandError
from oblix.v1 import endpoint_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    startable = [name for name, settings in TOOLS.items() if settings.command]
    parser.epilog = (
        "Tools: " + ", ".join(startable) + ". The command opens the endpoint if it is closed. The "
        "token ends with the tool. The exit code is that of the tool."
    )
    parser.add_argument("--model", default="auto", help="the model that the tool asks for (default auto)")
    parser.add_argument("--local-only", action="store_true", help="let its prompts reach local models only")
    parser.add_argument(
        "tool",
        metavar="TOOL",
        type=lambda name: OTHER_NAMES.get(name, name),
        choices=startable,
        help="the tool to start",
    )
    given = parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the tool itself is given")
    given.required = False
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the tool and wait for it."""
    settings = TOOLS[arguments.tool]
    if shutil.which(settings.command[0]) is None:
        raise CommandError(f"{settings.command[0]} is not installed: install it first.")
    if arguments.tool in WRITES_NOTHING and not (Path.home() / settings.file).exists():
        raise CommandError(
            f"{settings.title} is told by a file only: run `oblix connect {arguments.tool} --write` first."
        )
    transport = daemon.any_daemon()
    url = transport.call(lambda link: link.endpoint.OpenEndpoint, endpoint_pb2.OpenEndpointRequest()).url
    # The daemon takes what follows the dot off: the next run goes on with the sessions of this one.
    name = f"{arguments.tool}.run-{os.getpid()}"
    request = endpoint_pb2.CreateTokenRequest(name=name, local_only=arguments.local_only, replace=True)
    token = transport.call(lambda link: link.endpoint.CreateToken, request).text
    values = {"url": url, "token": token, "model": arguments.model}
    environment = {key: fill(value, values) for key, value in settings.environment.items()}
    command = [word.replace("{url}", url).replace("{model}", arguments.model) for word in settings.command]
    try:
        done = subprocess.run(
            [*command, *arguments.arguments], env={**os.environ, **environment}, check=False
        )
    finally:
        revoke = endpoint_pb2.RevokeTokenRequest(name=name)
        transport.call(lambda link: link.endpoint.RevokeToken, revoke)
    return done.returncode
