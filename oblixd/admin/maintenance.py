"""`oblixd check`, `restore`, `salvage` and `compact`: work on a store that no daemon has open."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from oblixd.app.paths import Paths
from oblixd.app.single_instance import AlreadyRunningError, Lock
from oblixd.sessions.fsck import Problem
from oblixd.sessions.fsck import problems as in_sessions
from oblixd.sessions.salvaging import Salvage
from oblixd.sessions.salvaging import salvage as in_place
from oblixd.sessions.storage.changes import forget_store_id
from oblixd.store.datafile.forked_reader import ForkedReader
from oblixd.store.directory_lock import DirectoryLock
from oblixd.store.inspection import DATA_FILE, problems_in_pages
from oblixd.store.rebuilding import compact as pack
from oblixd.store.restore import put_in_place, replace, verify
from oblixd.usage import TABLE_NAMES as USAGE_TABLES
from oblixd.usage.tables import problems as in_usage

SOUND, DAMAGED = 0, 1
COMPACT_DRAFT = "compacting.mdb"
DAMAGED_STORE = "damaged"
MAX_AT_START_BYTES = 128 * 2**20
"""A store up to this size is salvaged by a start itself; that takes some seconds."""


def check(paths: Paths) -> int:
    """Read everything, and say on standard output what is wrong. Return the exit code."""
    data = paths.store / DATA_FILE
    with _exclusive_store(paths, "check"):
        if not data.exists():
            _say(f"There is no store in {paths.store} yet.")
            return SOUND
        findings = list(_findings(data))
    if not findings:
        _say(f"The store in {paths.store} is sound.")
        return SOUND
    _say("`oblixd restore FILE` puts a backup in its place.")
    if all(findings):
        _say(
            "Without a backup, go on: what is not named is served as before, and a session that is named "
            "can be deleted."
        )
    else:
        _say(
            "Without a backup, call `oblixd salvage`: it makes a new store of every session that is whole, "
            "names the others, and keeps this file."
        )
    return DAMAGED


def salvage(paths: Paths) -> int:
    """Make a new store of all that is sound, and keep the file that is there. Return the exit code."""
    with _exclusive_store(paths, "salvage") as claim:
        if not (paths.store / DATA_FILE).exists():
            _say(f"There is no store in {paths.store} yet.")
            return SOUND
        result = set_apart(paths, claim)
    for problem in result.problems:
        _say(_line(problem))
    _say(f"The store in {paths.store} is made anew, with {result.whole_count} sessions that are whole.")
    _say(f"The file that was there before is in {result.damaged_file}.")
    return DAMAGED if result.problems else SOUND


def set_apart(paths: Paths, claim: DirectoryLock, *, careful: bool = False) -> Salvage:
    """Put a new file with all that is sound in the store's place, and keep the one that is there."""
    result = in_place(paths.store, backup_path(paths, DAMAGED_STORE), USAGE_TABLES, careful=careful)
    claim.settle()
    return result


def set_apart_at_start(paths: Paths) -> Salvage | None:
    """Do the same before a daemon opens the store. None when that is left to a person.

    That is when the file is so large that a start would take long, or when a damaged file was set
    apart before and is still kept: then the disk may be failing. DataLossError where no session can
    be saved, or where nobody can know which sessions have lost something.
    """
    data = paths.store / DATA_FILE
    if data.stat().st_size > MAX_AT_START_BYTES or any(paths.data.glob(f"store.{DAMAGED_STORE}-*")):
        return None
    claim = DirectoryLock.take(paths.store)
    try:
        return set_apart(paths, claim, careful=True)
    finally:
        claim.give_up()


def compact(paths: Paths) -> int:
    """Write the store's file without its free pages. Return the exit code."""
    data, draft = paths.store / DATA_FILE, paths.store / COMPACT_DRAFT
    with _exclusive_store(paths, "compact"):
        if not data.exists():
            _say(f"There is no store in {paths.store} yet.")
            return SOUND
        if not all(_findings(data)):
            _say("Nothing was changed: a damaged file can't be compacted. `oblixd check` says what to do.")
            return DAMAGED
        before = data.stat().st_size
        draft.unlink(missing_ok=True)
        try:
            pack(data, draft)
            replace(draft, paths.store, None)
        finally:
            draft.unlink(missing_ok=True)
    _say(f"The store in {paths.store} took {before:,} bytes and takes {data.stat().st_size:,} now.")
    return SOUND


def restore(paths: Paths, backup: Path, *, force: bool) -> int:
    """Put a backup in the store's place. Returns the exit code.

    Nothing is touched before all of the backup was read. With `force` one is taken, too,
    that was made of a store in which something was damaged, as long as it can be read.
    """
    with _exclusive_store(paths, "restore") as claim:
        size = verify(backup)
        findings = list(_findings(backup))
        if findings and not (force and all(findings)):
            _say(f"{backup} was not restored, and nothing was changed. Look for another backup.")
            _say("With --force it is restored as it is." if all(findings) else "It can't be read at all.")
            return DAMAGED
        kept = backup_path(paths, "before-restore")
        claim.mark()
        was_there = put_in_place(backup, size, paths.store, kept, forget_store_id)
    _say(f"The store in {paths.store} is now what {backup} holds.")
    if was_there:
        _say(f"What was there before is in {kept}.")
    return SOUND


def backup_path(paths: Paths, why: str) -> Path:
    """Return a directory, not there yet, for a file that is replaced."""
    return paths.data / time.strftime(f"store.{why}-%Y%m%dT%H%M%SZ", time.gmtime())


@contextmanager
def _exclusive_store(paths: Paths, command: str) -> Iterator[DirectoryLock]:
    """Keep daemons from starting. AlreadyRunningError where one runs."""
    paths.prepare()
    try:
        with Lock(paths.lock).hold(f"pid {os.getpid()}, oblixd {command}"):
            claim = DirectoryLock.take(paths.store)
            try:
                yield claim
            finally:
                claim.give_up()
    except AlreadyRunningError as error:
        raise AlreadyRunningError(f"{error}. End it with `oblix stop`, then call again.") from None


def _findings(path: Path) -> Iterator[bool]:
    """Says all that is wrong with a file, and of each problem whether the rest can be served beside it."""
    reader = ForkedReader(partial(_problems, path))
    for problem in reader:
        _say(_line(problem))
        yield problem.is_bearable
    if reader.death:
        _say(f"Reading {path} kills the reader ({reader.death}): its pages are damaged.")
        yield False


def _line(problem: Problem) -> str:
    return f"session {problem.session_id}: {problem.what}" if problem.session_id else problem.what


def _problems(path: Path) -> Iterator[Problem]:
    # liblmdb does not read what it may crash on.
    if in_pages := problems_in_pages(path):
        yield from (Problem("", what, is_bearable=False) for what in in_pages)
        return
    is_sound = True
    for problem in in_sessions(path):
        is_sound = False
        yield problem
    # What is damaged disagrees with the rest: no need to say it twice.
    if is_sound:
        yield from (Problem("", what) for what in in_usage(path))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
