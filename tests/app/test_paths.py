"""Where things are: found, made private, told to clients, and refused where they are not safe."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix._launcher import paths as client

from oblixd.app.paths import Paths
from oblixd.errors import FailedPreconditionError, InvalidArgumentError

TEMPORARY = Path(f"/tmp/oblix-{os.getuid()}")
LONG = "/tmp/" + "x" * 90


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_oblix_home_holds_everything():
    paths = Paths.find({"OBLIX_HOME": "/h", "HOME": "/other", "XDG_RUNTIME_DIR": "/run/user/1"})
    assert paths == Paths(
        data=Path("/h"),
        config=Path("/h/config.toml"),
        runtime_dir=Path("/h"),
        socket=Path("/h/oblixd.sock"),
        log=Path("/h/oblixd.log"),
        engine=Path(f"/h/engine/python{sys.version_info[0]}.{sys.version_info[1]}"),
        lock=Path("/h/oblixd.lock"),
    )


def test_the_xdg_directories_hold_without_it(home):
    runtime = home / "r"
    environ = {"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": str(runtime)}
    paths = Paths.find(environ)
    assert paths.data == Path("/s/oblix")
    assert paths.config == Path("/c/oblix/config.toml")
    assert paths.socket == runtime / "oblix" / "oblixd.sock"


def test_a_runtime_directory_that_is_another_user_s_is_left_alone(tmp_path, monkeypatch):
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path)}
    usable = Paths.find(environ).socket
    monkeypatch.setattr(os, "access", lambda *_: False)
    for find in (lambda: Paths.find(environ).socket, lambda: client.socket_path(environ)):
        assert find() != usable
        assert find().is_relative_to(TEMPORARY)


def test_a_user_without_an_entry_has_the_home_of_the_environment(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    environ = {"HOME": "/h"}
    paths = Paths.find(environ)
    assert paths.data == Path("/h/.local/state/oblix")
    assert client.log_path(environ) == paths.log
    assert client.socket_path(environ) == paths.socket
    assert client.engine_path(environ) == paths.engine
    with pytest.raises(InvalidArgumentError, match="set OBLIX_HOME"):
        Paths.find({})
    with pytest.raises(client.PathError, match="set OBLIX_HOME"):
        client.log_path({})


@pytest.mark.parametrize(
    "environ", [{"HOME": "/h"}, {"HOME": "/h", "XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": ""}]
)
def test_the_home_directory_serves_where_those_are_unset_or_relative(environ):
    paths = Paths.find(environ)
    assert paths.data == Path("/h/.local/state/oblix")
    assert paths.config == Path("/h/.config/oblix/config.toml")


def test_without_a_runtime_directory_the_socket_is_in_tmp():
    assert Paths.find({}).socket == TEMPORARY / "oblixd.sock"


def test_a_moved_home_has_a_daemon_of_its_own():
    sockets = {Paths.find({"HOME": home}).socket for home in ("/h", "/i")} | {Paths.find({}).socket}
    assert len(sockets) == 3
    assert all(socket.is_relative_to(TEMPORARY) for socket in sockets)


def test_a_relative_home_is_refused_by_daemon_and_client():
    with pytest.raises(InvalidArgumentError, match="'here'"):
        Paths.find({"OBLIX_HOME": "here"})
    with pytest.raises(client.PathError, match="'here'"):
        client.socket_path({"OBLIX_HOME": "here"})


def test_a_path_too_long_for_a_socket_gets_a_short_directory():
    paths = Paths.find({"OBLIX_HOME": LONG})
    assert paths.data == Path(LONG)
    assert paths.socket.parent.parent == TEMPORARY
    assert len(os.fsencode(paths.runtime_dir / "a-worker-of-the-model.sock")) <= 103
    assert Paths.find({"OBLIX_HOME": LONG + "y"}).socket != paths.socket


directories = st.sampled_from(["", "/", "/a", "relative", "/tmp/ä b", LONG, "/" + "ü" * 45, "/" + "z" * 77])
environments = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["OBLIX_HOME", "HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"], directories)
)


@given(environments)
def test_daemon_and_client_find_the_same(environ):
    try:
        paths = Paths.find(environ)
    except InvalidArgumentError:
        with pytest.raises(client.PathError):
            client.log_path(environ)
        return
    assert client.log_path(environ) == paths.log
    assert client.socket_path(environ) == paths.socket


def test_directories_are_made_for_this_user_alone(tmp_path):
    paths = Paths.find({"XDG_STATE_HOME": f"{tmp_path}/deep/s", "XDG_RUNTIME_DIR": str(tmp_path / "r")})
    paths.prepare()
    assert (mode_of(paths.data), mode_of(paths.runtime_dir)) == (0o700, 0o700)
    paths.prepare()


@pytest.mark.parametrize(
    "names", [[], ["config.toml"], ["oblixd.lock", "store"], ["launch.lock", "oblixd.log"]]
)
def test_a_directory_of_ours_that_others_may_open_is_closed(tmp_path, names):
    home = tmp_path / "home"
    home.mkdir()
    for name in names:
        (home / name).touch()
    home.chmod(0o755)
    Paths.find({"OBLIX_HOME": str(home)}).prepare()
    assert mode_of(home) == 0o700


@pytest.mark.parametrize("by_the_client", [[], ["launch.lock", "oblixd.log"]])
def test_a_directory_of_something_else_is_not_touched_but_refused(tmp_path, by_the_client):
    home = tmp_path / "home"
    home.mkdir()
    for name in ["letters", *by_the_client]:
        (home / name).touch()
    home.chmod(0o755)
    with pytest.raises(FailedPreconditionError, match="chmod 700") as caught:
        Paths.find({"OBLIX_HOME": str(home)}).prepare()
    assert caught.value.reason == "DIRECTORY_UNSAFE"
    assert mode_of(home) == 0o755


def test_a_symbolic_link_in_the_sockets_place_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(FailedPreconditionError, match="symbolic link"):
        Paths.find({"OBLIX_HOME": str(tmp_path / "link")}).prepare()
    with pytest.raises(client.PathError):
        client.socket_path({"OBLIX_HOME": str(tmp_path / "link")})


def test_conversations_may_lie_behind_a_symbolic_link(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "oblix").symlink_to(tmp_path / "big")
    Paths.find({"XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "r")}).prepare()
    assert mode_of(tmp_path / "big") == 0o700


@pytest.fixture
def short():
    """A directory whose name leaves room for a socket's: pytest's own may be too long."""
    with TemporaryDirectory(prefix="oblix-") as path:
        yield Path(path)


@pytest.fixture
def foreign(short):
    """A directory that belongs to somebody else. Only root can make one; for anybody else root's will do."""
    if os.getuid() != 0:
        return Path("/usr")
    path = short / "foreign"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    return path


def test_somebody_else_s_directory_is_refused(foreign):
    with pytest.raises(FailedPreconditionError, match=r"belongs to user \d+"):
        Paths.find({"OBLIX_HOME": str(foreign)}).prepare()
    with pytest.raises(client.PathError, match="only you"):
        client.socket_path({"OBLIX_HOME": str(foreign)})


def test_a_directory_that_others_may_write_to_is_refused_by_the_client(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o770)
    with pytest.raises(client.PathError, match="only you"):
        client.socket_path({"OBLIX_HOME": str(home)})


def test_a_file_in_the_directory_s_place_is_refused(tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(FailedPreconditionError, match="OBLIX_HOME") as caught:
        Paths.find({"OBLIX_HOME": str(tmp_path / "home")}).prepare()
    assert caught.value.reason == "DIRECTORY_UNUSABLE"


def test_clients_find_the_socket_by_what_the_daemon_tells(short):
    data = {"XDG_STATE_HOME": str(short / "s")}
    paths = Paths.find(data | {"XDG_RUNTIME_DIR": str(short / "r")})
    paths.prepare()
    paths.publish()
    under_cron = data | {"XDG_RUNTIME_DIR": str(short / "gone")}
    assert client.socket_path(under_cron) == paths.socket
    paths.retract()
    assert client.socket_path(under_cron) == short / "gone" / "oblix" / "oblixd.sock"


@pytest.mark.parametrize("told", [b"", b"relative.sock", b"/" + b"x" * 103, b"\xff"])
def test_a_broken_notice_is_not_followed(home, told):
    (home / "socket").write_bytes(told)
    assert client.socket_path({"OBLIX_HOME": str(home)}) == home / "oblixd.sock"


@pytest.fixture
def temporary():
    """The directory that is shared by all short ones. Taken away again where the test made it."""
    was_there = TEMPORARY.exists()
    yield TEMPORARY
    if not was_there:
        TEMPORARY.rmdir()


def test_the_short_directory_comes_and_goes_with_the_daemon(tmp_path, temporary):
    long = tmp_path / ("x" * 100)
    paths = Paths.find({"OBLIX_HOME": str(long)})
    assert paths.runtime_dir.name == hashlib.sha256(os.fsencode(long)).hexdigest()[:16]
    paths.prepare()
    paths.publish()
    assert (mode_of(paths.runtime_dir), mode_of(temporary)) == (0o700, 0o700)
    assert client.socket_path({"OBLIX_HOME": str(long)}) == paths.socket
    paths.retract()
    assert not paths.runtime_dir.exists()
    assert not paths.notice.exists()
