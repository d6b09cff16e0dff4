"""The keys of the cloud models that the configuration names. They stay in memory.

A key is in a file that the configuration names, or in systemd's credential
`openai-api-key` or `claude-api-key`: never in the configuration itself, nor in
the environment, which every child inherits and `ps` can show.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from oblixd.errors import FailedPreconditionError

logger = logging.getLogger(__name__)

LONGEST_KEY = 8192
"""Bytes."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def configured_key(provider: str, key_file: str, environ: Mapping[str, str]) -> str:
    """Return the key of a provider's configured models; empty where there is none.

    `key_file`: an absolute path, which goes first; empty: none. Raises
    FailedPreconditionError for a file that can't be read or that others can read.
    """
    if key_file:
        return _read(Path(key_file), is_private=True)
    # https://systemd.io/CREDENTIALS: a directory of the service's own, which systemd protects by an
    # access control list. That shows in the mode as a group that may read.
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory, f"{provider}-api-key") if directory else None
    return _read(credential, is_private=False) if credential and credential.exists() else ""


def credential(name: str, environ: Mapping[str, str]) -> str:
    """Return the key in a systemd credential. Raises FailedPreconditionError where there is none."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        message = (
            f"There is no credential {name}: this daemon was not started by systemd with credentials. Add "
            f"LoadCredential={name}:FILE to its unit, or use key_file."
        )
        raise FailedPreconditionError("KEY_FILE_UNUSABLE", message, file=name)
    return _read(Path(directory, name), is_private=False)


def keyring_key(user: str) -> str:
    """Read a key from the system's keyring: service `oblix`, this user name. Empty if it has none.

    A keyring that is locked or missing is logged with what to do: the daemon serves the other models.
    """
    try:
        keyring: Any = import_module("keyring")
    except ImportError:
        logger.warning("the key %s is in the keyring, and the package keyring is not installed", user)
        return ""
    try:
        found = keyring.get_password("oblix", user)
    except Exception as error:  # noqa: BLE001 - a keyring's backends raise what they like
        logger.warning("the keyring can't be read (%s): unlock it, then run `oblix reload`", error)
        return ""
    if not found:
        logger.warning(
            "the keyring has no key %s: run `keyring set oblix %s`, then `oblix reload`", user, user
        )
    return str(found or "")


def headers(file: str) -> dict[str, str]:
    """Read headers for a server, one NAME=VALUE a line, out of a file that only its owner may read.

    Raises FailedPreconditionError as for a key.
    """
    path, found = Path(file), {}
    for line in _read_text(path, is_private=True).splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name or not value.isprintable():
            raise _unusable(path, "each line of it must be NAME=VALUE")
        found[name] = value
    return found


def _read(path: Path, *, is_private: bool) -> str:
    key = _read_text(path, is_private=is_private)
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable() or " " in key:
        raise _unusable(path, f"it does not hold one key of 1 to {LONGEST_KEY:,} characters")
    return key


def _read_text(path: Path, *, is_private: bool) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if is_private and mode & OTHERS:
                raise _unsafe(path)
            return file.read(LONGEST_KEY + 1).decode("ascii").strip()
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _unusable(path, "it holds more than ASCII characters") from None


def _unsafe(path: Path) -> FailedPreconditionError:
    message = f"Others can read the key in {path}: run `chmod 600 {path}`, and think of a new key."
    return FailedPreconditionError("KEY_FILE_UNSAFE", message, file=path)


def _unusable(path: Path, why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        "KEY_FILE_UNUSABLE", f"The key file {path} can't be used: {why}.", file=path
    )
