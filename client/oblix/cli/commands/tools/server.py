"""`oblix server`: open the daemon's HTTP endpoint, close it, or say where it is."""

from __future__ import annotations

import argparse

from oblix.cli import daemon
from oblix.cli.output import tables
from oblix.v1 import endpoint_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "The endpoint serves OpenAI's, Anthropic's and Ollama's APIs on 127.0.0.1 until the daemon ends. "
        "`oblix connect TOOL` makes a token and the settings for a tool."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--port", type=int, default=0, help="the TCP port (default: as configured, 62549)")
    what.add_argument("--close", action="store_true", help="close the endpoint")
    what.add_argument("--status", action="store_true", help="say whether it is open, and where")
    parser.add_argument(
        "--json", action="store_true", help="print the endpoint's URL as JSON; null: it is closed"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it, and say what was done. With --status returns 1 where the endpoint is closed."""
    if arguments.close:
        daemon.running_daemon().call(
            lambda link: link.endpoint.CloseEndpoint, endpoint_pb2.CloseEndpointRequest()
        )
        _tell("", "The endpoint is closed.", as_json=arguments.json)
        return 0
    if arguments.status:
        request = endpoint_pb2.GetEndpointRequest()
        url = daemon.running_daemon().call(lambda link: link.endpoint.GetEndpoint, request).url
        _tell(url, f"open at {url}" if url else "closed", as_json=arguments.json)
        return 0 if url else 1
    opened = endpoint_pb2.OpenEndpointRequest(port=arguments.port)
    url = daemon.any_daemon().call(lambda link: link.endpoint.OpenEndpoint, opened).url
    text = (
        f"oblixd serves {url}/v1 until it ends. To keep it: [http] enabled = true in the configuration.\n"
        "Connect a tool with `oblix connect TOOL`."
    )
    _tell(url, text, as_json=arguments.json)
    return 0


def _tell(url: str, text: str, *, as_json: bool) -> None:
    if as_json:
        tables.show_json({"url": url or None})
    else:
        print(text)
