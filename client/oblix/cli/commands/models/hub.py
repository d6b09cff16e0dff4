"""`oblix models pull hf:OWNER/REPO[:QUANT]`: a GGUF file from the Hugging Face hub, for the embedded engine.

It comes by the library huggingface_hub (the extra `hub`) into that library's cache, where other programs find
it, too. A download that stopped goes on when it is run again. HF_ENDPOINT, HF_TOKEN and HF_HOME count as that
library has it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import logging
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from oblix.cli.errors import CommandError

PREFIX = "hf:"
USUAL = "Q4_K_M"
"""The quantisation that is taken where none is named: small, and close to the whole."""
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_OTHER = ("mmproj", "imatrix", "lora")
"""What GGUF files have in their names that are no model of their own."""
_QUANT = re.compile(r"(?:^|[-_.])((?:IQ|TQ|Q)\d(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4)(?=[-_.])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    name: str
    size_bytes: int
    sha256: str
    """Empty: the hub does not tell it."""

    @property
    def quant(self) -> str:
        """How it is quantised, in capitals; empty where its name does not say."""
        found = _QUANT.findall(Path(self.name).name)
        return found[-1].upper() if found else ""


def parse(text: str) -> tuple[str, str]:
    """Return repository and quantisation of `hf:OWNER/REPO[:QUANT]`. Raises ValueError."""
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?::([\w.-]+))?", text)
    if found is None:
        raise ValueError(f"{text!r} is not hf:OWNER/REPO or hf:OWNER/REPO:QUANT")
    return found[1], (found[2] or "").upper()


def pull(text: str) -> int:
    """Fetch and check the file, and say how to add it. Gives the exit code. Raises CommandError."""
    repo, quant = parse(text)
    try:
        import huggingface_hub
    except ImportError:
        raise CommandError(
            "the package huggingface-hub is not installed: install oblix[hub], or fetch the file "
            "yourself and "
            "run `oblix models add embedded:NAME --file FILE`."
        ) from None
    # It would write each try that failed with a traceback. What is left in the end is told below.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    try:
        chosen = choose(_files(repo), quant, repo)
        size = f"{chosen.size_bytes / 1e9:.2f} GB"
        print(f"oblix: fetching {chosen.name}, {size} ...", file=sys.stderr, flush=True)
        path = _fetch(repo, chosen)
    except huggingface_hub.errors.HfHubHTTPError as error:
        raise CommandError(_explain(repo, error)) from None
    except CommandError:
        raise
    except Exception as error:  # noqa: BLE001 - a network that fails shows as what the HTTP library raises
        why = " ".join(str(error).split())[:300]
        raise CommandError(
            f"the hub can't be reached any more: {why}. What has come is kept: run it again."
        ) from None
    _check(path, chosen)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(chosen.name).stem.lower())
    print(path)
    command = shlex.join(["oblix", "models", "add", f"embedded:{name}", "--file", str(path)])
    print(f"oblix: it is there, checked. To have it answer: {command}", file=sys.stderr)
    return 0


def _fetch(repo: str, hub_file: HubFile) -> Path:
    """Bring a file into the library's cache, and go on where an earlier download of it stopped.

    By itself the library removes what has come once its own few tries are used up.
    """
    import huggingface_hub
    from huggingface_hub import constants, file_download

    utils: Any = importlib.import_module("huggingface_hub.utils")

    url = huggingface_hub.hf_hub_url(repo, hub_file.name)
    about = huggingface_hub.get_hf_file_metadata(url)
    folder = file_download.repo_folder_name(repo_id=repo, repo_type="model")
    blob = Path(constants.HF_HUB_CACHE, folder, "blobs", str(about.etag))
    size = hub_file.size_bytes or about.size or 0
    # The hub gives larger files to its own protocol only, which the library speaks.
    if about.etag and not blob.exists() and size <= constants.MAX_HTTP_DOWNLOAD_SIZE:
        blob.parent.mkdir(parents=True, exist_ok=True)
        part = blob.with_name(f"{blob.name}.oblix-part")
        with part.open("ab") as file:
            _lock(file)
            headers = utils.build_hf_headers()
            file_download.http_get(
                url, file, resume_size=file.tell(), headers=headers, expected_size=size or None
            )
        part.rename(blob)
    return Path(huggingface_hub.hf_hub_download(repo, hub_file.name))


def _lock(file: BinaryIO) -> None:
    """Raise CommandError where another download of this user writes into the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError("another download of this file runs: wait for it.") from None


def choose(files: Sequence[HubFile], quant: str, repo: str) -> HubFile:
    """Return the one file that is meant. Raises CommandError with those that there are."""
    models = [one for one in files if not any(word in one.name.lower() for word in _OTHER)]
    whole = [one for one in models if not _PART.search(one.name)]
    if not whole:
        why = "its models are split into parts" if models else "it has no GGUF file"
        raise CommandError(
            f"{repo} has nothing for the embedded engine: {why}. Look for a repository with -GGUF."
        )
    wanted = [one for one in whole if one.quant == (quant or USUAL)]
    if not wanted and not quant and len(whole) == 1:
        return whole[0]
    if not wanted:
        there = ", ".join(sorted({one.quant or Path(one.name).name for one in whole}))
        raise CommandError(
            f"{repo} has no {quant or USUAL}: say which, as hf:{repo}:QUANT. There are {there}."
        )
    return wanted[0]


def _files(repo: str) -> list[HubFile]:
    import huggingface_hub

    found = huggingface_hub.HfApi().model_info(repo, files_metadata=True).siblings or []
    return [
        HubFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else "")
        for one in found
        if one.rfilename.lower().endswith(".gguf")
    ]


def _check(path: Path, file: HubFile) -> None:
    """Hold a file against what the hub says of it. One that differs is removed."""
    with path.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    if file.sha256 and digest != file.sha256:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise CommandError(f"{file.name} came damaged (SHA-256 {digest}, not {file.sha256}): run it again.")


def _explain(repo: str, error: Exception) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if status in (401, 403, 404):
        return (
            f"the hub shows no {repo} (status {status}): check its name. Where it asks who you "
            "are, accept its terms "
            "on its page and set HF_TOKEN."
        )
    return f"the hub refused {repo}: {' '.join(str(error).split())[:300]}"
