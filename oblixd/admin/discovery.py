"""Finds GGUF files that other programs have fetched: `oblixd config discover`, for `oblix models discover`.

The files come from strangers. They are read here, in a process that ends afterwards, never in the daemon;
nothing is added by itself.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from oblixd.models.embedded.gguf import BrokenFileError, describe

MOST_FILES = 1000
"""Files that are looked at."""
_EMBEDDING = ("bert", "nomic-bert", "jina-bert", "gte", "t5encoder")
"""What architectures of embedding models begin with: they answer no prompt."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, and what it is."""

    path: str
    """With its links resolved."""
    name: str
    """What it may be called here."""
    program: str
    """Whose cache it is in."""
    kind: str
    """model, split, projector, adapter, embedding, or unusable."""
    size_bytes: int
    note: str = ""
    """Why it can't be used."""


def discover(environ: Mapping[str, str]) -> list[Found]:
    """Look through the caches of Ollama, LM Studio, llama.cpp, Hugging Face and Jan."""
    home = Path(environ.get("HOME") or Path.home())
    found: dict[str, Found] = {}
    for program, name, path in _candidates(home, environ):
        if len(found) >= MOST_FILES:
            break
        one = _inspect(program, name, path)
        found.setdefault(one.path, one)
    return sorted(found.values(), key=lambda one: (one.kind != "model", one.program, one.name))


def as_json(environ: Mapping[str, str]) -> str:
    """Give what `discover` finds, as JSON."""
    return json.dumps([asdict(one) for one in discover(environ)])


def _candidates(home: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str, Path]]:
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub = environ.get("HF_HUB_CACHE") or Path(environ.get("HF_HOME") or cache / "huggingface") / "hub"
    trees = {
        "LM Studio": (home / ".lmstudio" / "models", cache / "lm-studio" / "models"),
        "llama.cpp": (Path(environ.get("LLAMA_CACHE") or cache / "llama.cpp"),),
        "Hugging Face": (Path(hub),),
        "Jan": (home / ".local/share/Jan/data/llamacpp/models", home / "jan" / "models"),
    }
    for root in (Path(environ.get("OLLAMA_MODELS") or home / ".ollama" / "models"),):
        yield from (("Ollama", name, path) for name, path in _of_ollama(root))
    for program, roots in trees.items():
        for root in roots:
            for path in _files(root):
                own = path.stem if path.stem != "model" else path.parent.name
                yield program, own, path


def _files(root: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in root.rglob("*.gguf") if path.is_file())
    except OSError:
        # A directory that can't be read holds nothing for this user.
        return


def _of_ollama(root: Path) -> Iterator[tuple[str, Path]]:
    """Read Ollama's manifests: its files are named by their checksum."""
    manifests = root / "manifests"
    for manifest in sorted(path for path in manifests.rglob("*") if path.is_file()):
        try:
            layers = json.loads(manifest.read_bytes())["layers"]
            digests = [one["digest"] for one in layers if one["mediaType"].endswith("image.model")]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for digest in digests:
            blob = root / "blobs" / str(digest).replace(":", "-")
            if blob.is_file() and blob.parent == root / "blobs":
                yield f"{manifest.parent.name}-{manifest.name}", blob


def _inspect(program: str, name: str, path: Path) -> Found:
    real = path.resolve()
    size = 0
    try:
        state = real.stat()
        size = state.st_size
        if note := _unsafe(state):
            return Found(str(real), name, program, "unusable", size, note)
        kind = _kind(real)
    except BrokenFileError as error:
        return Found(str(real), name, program, "unusable", size, f"it {error}")
    except OSError as error:
        return Found(str(real), name, program, "unusable", size, f"it can't be read ({error.strerror})")
    return Found(str(real), name, program, kind, size)


def missing_template(path: Path) -> str:
    """Return what a person should know of a GGUF file without a chat template; empty for any other file."""
    try:
        told = describe(path)
    except (BrokenFileError, OSError):
        return ""
    if told.has_chat_template:
        return ""
    return (
        f"{path} has no chat template: prompts are written as ChatML, which fits only models that were "
        "trained so. A base model goes on with a text instead of answering; look for its instruct version."
    )


def _unsafe(state: os.stat_result) -> str:
    if state.st_uid not in {os.getuid(), 0}:
        return f"it belongs to user {state.st_uid}"
    if state.st_mode & (stat.S_IWOTH | stat.S_IWGRP) and state.st_mode & stat.S_IWOTH:
        return "everybody can write to it"
    return ""


def _kind(path: Path) -> str:
    told = describe(path)
    if told.type in {"mmproj", "projector"} or told.architecture == "clip":
        return "projector"
    if told.type == "adapter":
        return "adapter"
    if told.parts > 1:
        return "split"
    return "embedding" if told.architecture.startswith(_EMBEDDING) else "model"
