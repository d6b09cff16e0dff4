"""`oblix models discover`: servers that listen here, and model files that other programs fetched."""

from __future__ import annotations

import argparse
import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from oblix.cli.commands.service.config import read_of_daemon
from oblix.cli.output import tables

LOOK_S = 1.0
"""How long a server may take to answer."""
LARGEST_ANSWER = 1 << 20
PORTS = {11434: "ollama", 1234: "lmstudio", 8080: "llamacpp", 8000: "vllm", 1337: "custom", 5001: "custom"}
"""Where servers usually listen: 1337 is Jan's port, 5001 KoboldCpp's."""
DESCRIPTION = """Asks the usual ports of this machine for models, and looks through the caches of Ollama, LM
Studio, llama.cpp, Hugging Face and Jan for GGUF files. It adds nothing: each line shows how to."""
COLUMNS = {"kind": "KIND", "name": "NAME", "where": "WHERE", "add": "TO ADD IT"}


@dataclass(frozen=True, slots=True)
class Listening:
    """A server, and the models that it names."""

    kind: str
    endpoint: str
    models: Sequence[str]


def configure(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    discover = actions.add_parser(
        "discover", help="find servers and model files on this machine", description=DESCRIPTION
    )
    discover.add_argument("--json", action="store_true", help="print them as JSON")
    discover.set_defaults(run=_discover)


def listening(ports: dict[int, str]) -> list[Listening]:
    """Ask each port of this machine for its models, all at once."""
    with ThreadPoolExecutor(max(1, len(ports))) as pool:
        found = pool.map(lambda port: _ask(port, ports[port]), ports)
    return [one for one in found if one is not None]


def _discover(arguments: argparse.Namespace) -> None:
    files = json.loads(read_of_daemon("discover"))
    servers = listening(PORTS)
    if arguments.json:
        tables.show_json({"servers": [asdict(one) for one in servers], "files": files})
        return
    rows = [_of_server(one, model) for one in servers for model in one.models]
    rows += [_of_file(one) for one in files]
    if not rows:
        print("No server listens on the usual ports of this machine, and no program's cache has a GGUF file.")
        return
    tables.show_rows(rows, COLUMNS)


def _ask(port: int, kind: str) -> Listening | None:
    base = f"http://localhost:{port}"
    path = "/api/tags" if kind == "ollama" else "/v1/models"
    answer = _read(base + path)
    entries = answer.get("models" if kind == "ollama" else "data") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        return None
    key = "name" if kind == "ollama" else "id"
    names = [str(one[key]) for one in entries if isinstance(one, dict) and isinstance(one.get(key), str)]
    return Listening(kind, base if kind == "ollama" else f"{base}/v1", names)


def _read(url: str) -> Any:
    # Never through a proxy: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=LOOK_S) as reply:
            return json.loads(reply.read(LARGEST_ANSWER))
    except (OSError, ValueError, urllib.error.URLError):
        return None


def _of_server(server: Listening, model: str) -> dict[str, object]:
    words = ["oblix", "models", "add", f"{server.kind}:{model}"]
    words += ["--endpoint", server.endpoint] if server.kind == "custom" else []
    return {"kind": "server", "name": model, "where": server.endpoint, "add": shlex.join(words)}


def _of_file(model: dict[str, Any]) -> dict[str, object]:
    words = ["oblix", "models", "add", f"embedded:{model['name']}", "--file", model["path"]]
    return {
        "kind": model["kind"],
        "name": model["name"],
        "where": f"{model['program']}, {model['size_bytes'] / 1e9:.1f} GB",
        "add": shlex.join(words) if model["kind"] == "model" else model["note"] or "-",
    }
