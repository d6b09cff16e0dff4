"""`oblix sessions archive`, `undelete`, `fork`, `prune`, `watch` … as a person types them."""

from __future__ import annotations

import json
import sys

import pytest
from support.drivers.terminal import terminal


@pytest.fixture
def create(oblix):
    def create(*words: str) -> str:
        return oblix("sessions", "create", *words).stdout.rstrip("\n")

    return create


@pytest.fixture
def list_ids(oblix):
    def list_ids(*words: str) -> list[str]:
        lines = oblix("sessions", "list", *words).stdout.splitlines()
        return [line.split("\t")[0] for line in lines]

    return list_ids


def test_archived_sessions_leave_the_list_and_come_back(oblix, create, list_ids) -> None:
    here, away = [create("T", "--metadata", "test=archive") for _ in range(2)]
    wanted = ("--filter", "test=archive")
    oblix("sessions", "archive", away)
    assert list_ids(*wanted) == [here]
    assert list_ids(*wanted, "--archived") == [away]
    assert list_ids(*wanted, "--all") == [away, here]
    oblix("sessions", "unarchive", away)
    assert list_ids(*wanted) == [away, here]


def test_deleted_sessions_can_be_brought_back(oblix, create, list_ids) -> None:
    session_id = create("Kept")
    oblix("sessions", "delete", session_id)
    assert list_ids("--deleted") == [session_id]
    oblix("sessions", "undelete", session_id)
    assert (list_ids("--deleted"), session_id in list_ids()) == ([], True)
    failed = oblix("sessions", "undelete", session_id, ok=False)
    assert (failed.returncode, "is not deleted" in failed.stderr) == (1, True)


def test_a_person_at_a_terminal_is_asked_before_sessions_are_deleted(oblix, create, list_ids) -> None:
    session_id = create("--title", "Thermodynamics")
    delete = (sys.executable, "-m", "oblix", "sessions", "delete")
    with terminal(*delete, session_id) as screen:
        screen.wait_for('Delete "Thermodynamics" (`oblix sessions undelete` brings back)? [y/N] ')
        screen.type("\n")
        assert "nothing was deleted" in screen.rest()
    assert session_id in list_ids()
    with terminal(*delete, "--yes", session_id) as screen:
        assert screen.rest() == ""
    assert session_id not in list_ids()
    with terminal(*delete, "--purge", session_id) as screen:
        screen.wait_for("for good? [y/N] ")
        screen.type("y\n")
        screen.rest()
    assert session_id not in list_ids("--deleted")


def test_an_unknown_id_is_named(oblix) -> None:
    for words in (
        ["archive", "nobody"],
        ["undelete", "nobody"],
        ["rename", "nobody", "T"],
        ["fork", "nobody"],
    ):
        failed = oblix("sessions", *words, ok=False)
        assert failed.returncode == 1
        assert "no session nobody" in failed.stderr


def test_a_list_takes_a_range_of_time(oblix, create, list_ids) -> None:
    session_id = create("T", "--metadata", "test=time")
    wanted = ("--filter", "test=time")
    assert list_ids(*wanted, "--from", "2020-01-01") == [session_id]
    assert list_ids(*wanted, "--before", "2020-01-01") == []


def test_rename_and_fork(oblix, create) -> None:
    session_id = create("Old")
    oblix("sessions", "rename", session_id, "New")
    fork = oblix("sessions", "fork", session_id).stdout.rstrip("\n")
    assert json.loads(oblix("sessions", "view", fork, "--json").stdout)["title"] == "New"
    failed = oblix("sessions", "fork", session_id, "--up-to", "1", ok=False)
    assert (failed.returncode, "up_to_sequence" in failed.stderr) == (1, True)


def test_prune_says_what_it_would_do(oblix, create) -> None:
    create("Young")
    done = oblix("sessions", "prune", "--days", "1", "--delete", "--dry-run")
    assert (done.stdout, done.stderr) == ("", "oblix: 0 sessions would be pruned.\n")
    assert json.loads(oblix("sessions", "prune", "--json").stdout) == {"sessions": [], "total_count": 0}
    failed = oblix("sessions", "prune", "--delete", ok=False)
    assert (failed.returncode, "--days" in failed.stderr) == (1, True)


def test_watch_prints_a_line_for_each_change(oblix, create, start) -> None:
    first = create("First", "--metadata", "test=watch")
    watch = start("sessions", "watch", "--filter", "test=watch")
    assert watch.stdout.readline().split("\t")[:2] == ["changed", first]
    synced, revision = watch.stdout.readline().split()
    assert synced == "synced"
    oblix("sessions", "rename", first, "a\tb\x1b[31m")
    assert watch.stdout.readline().rstrip("\n").split("\t")[-1] == "a b[31m"
    oblix("sessions", "delete", first)
    assert watch.stdout.readline() == f"removed\t{first}\n"
    again = start("sessions", "watch", "--filter", "test=watch", "--from-revision", revision, "--json")
    assert json.loads(again.stdout.readline())["session_id"] == first
