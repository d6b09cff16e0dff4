"""`oblixd check` and `oblixd restore`: work on a store that no daemon has open."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from oblixd.lock import AlreadyRunningError, Lock
from oblixd.paths import Paths
from oblixd.sessions.checking import Problem
from oblixd.sessions.checking import problems as in_sessions
from oblixd.sessions.restoring import make_another
from oblixd.store.apart import Apart
from oblixd.store.claim import Claim
from oblixd.store.inspection import DATA_FILE
from oblixd.store.restoring import put_in_place, verify
from oblixd.usage.checking import problems as in_usage

SOUND, DAMAGED = 0, 1


def check(paths: Paths) -> int:
    """Reads everything, and says on standard output what is wrong. Returns the exit code."""
    data = paths.store / DATA_FILE
    with _alone(paths, "check"):
        if not data.exists() or not data.stat().st_size:
            _say(f"There is no store in {paths.store} yet.")
            return SOUND
        if not list(_findings(data)):
            _say(f"The store in {paths.store} is sound.")
            return SOUND
    _say(
        "`oblixd restore FILE` puts a backup in its place. Without one, go on: what is not named is served "
        "as before, and a session that is named can be deleted."
    )
    return DAMAGED


def restore(paths: Paths, backup: Path, *, force: bool) -> int:
    """Puts a backup in the store's place. Returns the exit code.

    Nothing is touched before all of the backup was read. With `force` one is taken, too,
    that was made of a store in which something was damaged, as long as it can be read.
    """
    with _alone(paths, "restore") as claim:
        size = verify(backup)
        findings = list(_findings(backup))
        if findings and not (force and all(findings)):
            _say(f"{backup} was not restored, and nothing was changed. Look for another backup.")
            _say("With --force it is restored as it is." if all(findings) else "It can't be read at all.")
            return DAMAGED
        kept = paths.data / time.strftime("store.before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
        claim.mark()
        was_there = put_in_place(backup, size, paths.store, kept, make_another)
    _say(f"The store in {paths.store} is now what {backup} holds.")
    if was_there:
        _say(f"What was there before is in {kept}.")
    return SOUND


@contextmanager
def _alone(paths: Paths, command: str) -> Iterator[Claim]:
    """Keeps daemons from starting. AlreadyRunningError where one runs."""
    paths.prepare()
    try:
        with Lock(paths.lock).held(f"pid {os.getpid()}, oblixd {command}"):
            claim = Claim.take(paths.store)
            try:
                yield claim
            finally:
                claim.give_up()
    except AlreadyRunningError as error:
        raise AlreadyRunningError(f"{error}. End it with `oblix stop`, then call again.") from None


def _findings(path: Path) -> Iterator[bool]:
    """Says all that is wrong with a file, and of each problem whether the rest can be served beside it."""
    reader = Apart(partial(_problems, path))
    for problem in reader:
        _say(f"session {problem.session_id}: {problem.what}" if problem.session_id else problem.what)
        yield problem.is_bearable
    if reader.death:
        _say(f"Reading {path} kills the reader ({reader.death}): its pages are damaged.")
        yield False


def _problems(path: Path) -> Iterator[Problem]:
    is_sound = True
    for problem in in_sessions(path):
        is_sound = False
        yield problem
    # What is damaged disagrees with the rest: no need to say it twice.
    if is_sound:
        yield from (Problem("", what) for what in in_usage(path))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
