"""Where the key of a model comes from. It stays in memory, here and in the daemon.

In this order: the call, the file that the call names, the environment
(OPENAI_API_KEY, ANTHROPIC_API_KEY), the system's keyring. A server that the
environment names gets no key of the keyring's.
"""

from __future__ import annotations

import os
import stat
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from oblix._convert.environment import Surroundings
from oblix._convert.file_io import path_of
from oblix._convert.validation import invalid
from oblix._transport.streams import in_thread
from oblix.errors import FailedPreconditionError
from oblix.models import ModelType

LONGEST_KEY = 8192
"""Characters."""
SERVICE = "oblix"
"""The service under which the keyring's entries are."""
FROM_KEYRING = {ModelType.OPENAI, ModelType.CLAUDE, ModelType.CUSTOM}
OTHERS = stat.S_IRWXG | stat.S_IRWXO


async def key_of(
    kind: ModelType, endpoint: object, api_key: object, api_key_file: object, around: Surroundings
) -> str:
    """Return the key for a model; empty where there is none. `around`: the environment's of the provider.

    Raises InvalidArgumentError for what can't be a key, and FailedPreconditionError
    for a file that others can read, or that can't be read, and a keyring that is locked.
    """
    if api_key and api_key_file:
        raise invalid("api_key_file", "a file where no api_key is given", "both")
    if api_key:
        return _check(api_key, "api_key")
    if api_key_file:
        return in_file(path_of(api_key_file))
    if around.key:
        return _check(around.key, around.variable)
    if around.endpoint and not endpoint:
        return ""
    if kind in FROM_KEYRING and find_spec("keyring"):
        return await in_thread(lambda: _in_keyring(str(endpoint or kind.value)))
    return ""


def in_file(path: Path) -> str:
    """Return the key in a file that only its owner can read. White space around it is left out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise _unusable(path, "it is not a file")
            if found.st_mode & OTHERS:
                raise _unsafe(path)
            content = file.read(LONGEST_KEY + 2)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    return _check(content.decode(errors="replace").strip(), f"the file {path}")


def _check(key: object, where: str) -> str:
    limit = f"a key: 1 to {LONGEST_KEY:,} printable ASCII characters without a space"
    # What was given is not shown: it may well be a key.
    if not isinstance(key, str):
        raise invalid(where, limit, type(key).__name__)
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        raise invalid(where, limit, f"{len(key)} other characters")
    return key


def _in_keyring(user: str) -> str:
    keyring: Any = import_module("keyring")
    problems: Any = import_module("keyring.errors")
    try:
        found = keyring.get_password(SERVICE, user)
    except problems.NoKeyringError:  # it is installed, and this system has none
        return ""
    except problems.KeyringError as error:
        raise FailedPreconditionError(
            f"The system's keyring can't be read ({error}): unlock it, or give the key another way.",
            reason="KEYRING_UNUSABLE",
        ) from None
    return _check(found, f"the keyring's entry {SERVICE}/{user}") if found else ""


def _unsafe(path: Path) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"Others can read the key in {path}: run `chmod 600 {path}`, and think of a new key.",
        reason="KEY_FILE_UNSAFE",
        metadata={"file": str(path)},
    )


def _unusable(path: Path, why: str) -> FailedPreconditionError:
    message = f"The key file {path} can't be read: {why}."
    return FailedPreconditionError(message, reason="KEY_FILE_UNUSABLE", metadata={"file": str(path)})
