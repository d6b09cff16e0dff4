"""The tokens of programs that call over HTTP: made, listed, revoked, looked up in constant time.

Only a hash of each is kept, in a file of mode 0600 in the daemon's data directory. A token is 256 random
bits, so a plain SHA-256 of it can't be reversed or guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from oblixd.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError

PREFIX = "oblix-"
"""Lets people and scanners recognise a token."""
MAX_TOKENS = 1000
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


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


class TokenStore:
    """The tokens of one file. It is read anew when another process changed it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens: dict[str, Token] = {}
        self._read = (0, 0)
        """Modification time and size of what was read."""

    def create(self, name: str, *, local_only: bool = False) -> str:
        """Make a token and return its text, which is shown this once.

        Raises InvalidArgumentError for a name that can't be one, AlreadyExistsError for one that is taken.
        """
        if not _NAME.fullmatch(name):
            limit = "1 to 64 characters of A-Z a-z 0-9 . _ -"
            message = f"name takes {limit}; given: {name[:80]!r}"
            raise InvalidArgumentError("INVALID_TOKEN_NAME", message, field="name", limit=limit)
        self._refresh()
        if name in self._tokens:
            message = f"There is a token {name!r} already: revoke it first, or choose another name."
            raise AlreadyExistsError("TOKEN_EXISTS", message, name=name)
        if len(self._tokens) >= MAX_TOKENS:
            message = f"There are {MAX_TOKENS} tokens: revoke those that nobody uses."
            raise FailedPreconditionError("TOO_MANY_TOKENS", message, limit=MAX_TOKENS)
        text = PREFIX + secrets.token_urlsafe(32)
        self._write({**self._tokens, name: Token(name, _digest(text), local_only, time.time())})
        return text

    def list(self) -> list[Token]:
        """Return what is kept of each, oldest first."""
        self._refresh()
        return sorted(self._tokens.values(), key=lambda token: token.created_s)

    def revoke(self, name: str) -> None:
        """Forget a token: the next request that carries it is refused. Raises NotFoundError."""
        self._refresh()
        if name not in self._tokens:
            message = f"There is no token {name[:80]!r}: `oblix connect --list` shows those that there are."
            raise NotFoundError("TOKEN_NOT_FOUND", message, name=name[:80])
        self._write({key: token for key, token in self._tokens.items() if key != name})

    def find(self, text: str) -> Token | None:
        """Return the token with this text; None where there is none. Takes as long for any wrong text."""
        self._refresh()
        digest, found = _digest(text), None
        for token in self._tokens.values():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

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
        self._tokens = {name: Token(name=name, **entry) for name, entry in entries.items()}
        self._read = now

    def _write(self, tokens: dict[str, Token]) -> None:
        entries = {}
        for name, token in tokens.items():
            entry = asdict(replace(token))
            del entry["name"]
            entries[name] = entry
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._refresh()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
