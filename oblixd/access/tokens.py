"""The tokens of programs that call over TCP or HTTP: made, listed, revoked, looked up in constant time.

Only a hash of each is kept, in a file of mode 0600 in the daemon's data directory. A token is 256 random
bits, so a plain SHA-256 of it can't be reversed or guessed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from oblixd.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    out_of_range,
)

PREFIX = "oblix-"
"""Lets people and scanners recognise a token."""
MAX_TOKENS = 1000
LOCAL_TOKEN = "local"  # noqa: S105 - a token's name
"""The token of this user's own clients on this machine. Its text is in a file beside the hashes."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BYTES = 4096
"""A longer text is no token, and is not hashed."""


class Scope(StrEnum):
    """What a token may do. Each includes those above it."""

    READ = "read"
    EXECUTE = "execute"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        """Return whether who may do this may do the other, too."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


class UnauthorizedError(PermissionDeniedError):
    """The call carries no token, or one that is not known."""


class TokenFailure(StrEnum):
    """The reasons of UnauthorizedError."""

    MISSING = "TOKEN_MISSING"
    UNKNOWN = "TOKEN_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    name: str
    """Who uses it, for example codex."""
    sha256: str
    """Of the token's text, as hexadecimal digits."""
    local_only: bool = False
    """Whether its prompts may go to local models only."""
    created_s: float = 0.0
    """Seconds since 1970."""
    scope: Scope = Scope.EXECUTE


def check_scope(token: Token, scope: Scope, what: str) -> None:
    """Raise PermissionDeniedError SCOPE_MISSING where a token may not do something."""
    if not token.scope.includes(scope):
        message = (
            f"The token {token.name} has the scope {token.scope}, and {what} needs {scope}: make "
            "another token "
            f"with `oblix tokens create NAME --scope {scope}`."
        )
        raise PermissionDeniedError(
            "SCOPE_MISSING", message, token=token.name, scope=token.scope, needed=scope
        )


class TokenStore:
    """The tokens of one file. It is read anew when another process changed it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens: dict[str, Token] = {}
        self._read = (0, 0)
        """Modification time and size of what was read."""
        former = path.with_name("http-tokens.json")
        if former.exists() and not path.exists():
            former.rename(path)

    @property
    def local_file(self) -> Path:
        """Where the text of the token is that this user's own clients use."""
        return self._path.with_name("token")

    def create(self, name: str, *, local_only: bool = False, scope: Scope = Scope.EXECUTE) -> str:
        """Make a token and return its text, which is shown this once.

        Raises InvalidArgumentError for a name that can't be one, AlreadyExistsError for one that is taken.
        """
        if not _NAME.fullmatch(name):
            limit = "1 to 64 characters of A-Z a-z 0-9 . _ -"
            raise out_of_range("INVALID_TOKEN_NAME", "name", limit, repr(name[:80]))
        self._refresh()
        if name in self._tokens:
            message = f"There is a token {name!r} already: revoke it first, or choose another name."
            raise AlreadyExistsError("TOKEN_EXISTS", message, name=name)
        if len(self._tokens) >= MAX_TOKENS:
            message = f"There are {MAX_TOKENS} tokens: revoke those that nobody uses."
            raise FailedPreconditionError("TOO_MANY_TOKENS", message, limit=MAX_TOKENS)
        text = PREFIX + secrets.token_urlsafe(32)
        self._write({**self._tokens, name: Token(name, _digest(text), local_only, time.time(), scope)})
        return text

    def ensure_local(self) -> None:
        """Make the token of this user's own clients where there is none, and write its text to "
        "a 0600 file."""
        self._refresh()
        with contextlib.suppress(OSError, ValueError):
            known = self.find(self.local_file.read_text("ascii").strip())
            if known is not None and known.name == LOCAL_TOKEN:
                return
        self._write({name: token for name, token in self._tokens.items() if name != LOCAL_TOKEN})
        _write_private(self.local_file, self.create(LOCAL_TOKEN, scope=Scope.ADMIN) + "\n")

    def list(self) -> Sequence[Token]:
        """Return what is kept of each, oldest first."""
        self._refresh()
        return sorted(self._tokens.values(), key=lambda token: token.created_s)

    def revoke(self, name: str) -> None:
        """Forget a token: the next request that carries it is refused. Raises NotFoundError."""
        self._refresh()
        if name not in self._tokens:
            message = f"There is no token {name[:80]!r}: `oblix tokens` shows those that there are."
            raise NotFoundError("TOKEN_NOT_FOUND", message, name=name[:80])
        self._write({key: token for key, token in self._tokens.items() if key != name})
        if name == LOCAL_TOKEN:
            self.local_file.unlink(missing_ok=True)

    def find(self, text: str) -> Token | None:
        """Return the token with this text; None where there is none. Takes as long for any wrong text."""
        self._refresh()
        digest, found = _digest(text[:_BYTES]), None
        for token in self._tokens.values():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def authorize(self, text: str) -> Token:
        """Return the token with this text. Raises UnauthorizedError with how to get one."""
        token = self.find(text) if text else None
        if token is not None:
            return token
        reason = TokenFailure.UNKNOWN if text else TokenFailure.MISSING
        what = "Nobody made the token that this request carries" if text else "The request carries no token"
        message = (
            f"{what}: `oblix connect TOOL` makes one for a tool and shows where it goes, "
            "`oblix tokens create NAME` one for a program (`Authorization: Bearer TOKEN`)."
        )
        raise UnauthorizedError(reason, message)

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._tokens, self._read = {}, (0, 0)
            return
        now = (status.st_mtime_ns, status.st_size)
        if now == self._read:
            return
        if status.st_mode & 0o077 or status.st_uid != os.getuid():
            message = f"{self._path} can be read by others: run `chmod 600 {self._path}`."
            raise FailedPreconditionError("TOKEN_FILE_UNSAFE", message, path=self._path)
        entries = json.loads(self._path.read_text("utf-8"))
        self._tokens = {name: _token_of(name, entry) for name, entry in entries.items()}
        self._read = now

    def _write(self, tokens: dict[str, Token]) -> None:
        entries = {
            token.name: {
                "sha256": token.sha256,
                "local_only": token.local_only,
                "created_s": token.created_s,
                "scope": token.scope.value,
            }
            for token in tokens.values()
        }
        _write_private(self._path, json.dumps(entries, indent=1))
        self._refresh()


def _token_of(name: str, entry: dict[str, Any]) -> Token:
    return Token(**{**entry, "name": name, "scope": Scope(entry.get("scope", Scope.EXECUTE))})


def _write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, for its owner alone."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
