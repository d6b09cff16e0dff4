"""Which room may know which: the rules of the house, read from the source."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from support import tree

ROOMS = {
    "rpc": {"execution", "http", "routing", "models", "monitor", "sessions", "usage"},
    "http": {"execution", "models", "sessions"},
    "execution": {"routing", "models", "monitor", "sessions", "usage"},
    "sessions": {"store"},
    "usage": {"store"},
    "routing": set(),
    "models": set(),
    "monitor": set(),
    "store": set(),
    "config": {"models", "routing", "usage"},
}
GRPC = {"grpc", "grpc_health", "grpc_reflection"}
HEAVY = {"aiohttp", "httpx", "lmdb", "psutil", "xllamacpp"}
DAEMON = tree.sources("oblixd")
CLIENT = [path for path in tree.sources("client/oblix") if "testing" not in path.parts]
TESTING = tree.sources("client/oblix/testing")


def _daemon_imports() -> Iterator[tuple[str, str, str]]:
    """(file, its room or "" for the composition root, dotted import)."""
    for path in DAEMON:
        inside = path.relative_to(tree.ROOT / "oblixd")
        room = inside.parts[0] if len(inside.parts) > 1 else ""
        yield from ((str(inside), room, name) for name in tree.imports(path))


def test_the_rules_see_the_source() -> None:
    assert {path.parent.name for path in DAEMON} >= set(ROOMS)
    assert CLIENT


def test_rooms_import_one_way() -> None:
    wrong = [
        f"{file} imports {name}"
        for file, room, name in _daemon_imports()
        if room and name.startswith("oblixd.") and not _is_allowed(room, name.split(".")[1])
    ]
    assert not wrong


def _is_allowed(room: str, target: str) -> bool:
    return target in {room, "background", "errors", "fields", "__version__"} | ROOMS[room]


def test_only_rpc_knows_grpc() -> None:
    wrong = [
        f"{file} imports {name}"
        for file, room, name in _daemon_imports()
        if room != "rpc" and (name.split(".")[0] in GRPC or "_grpc" in name)
    ]
    assert not wrong


def test_only_the_store_knows_lmdb() -> None:
    users = {room for _, room, name in _daemon_imports() if name.split(".")[0] == "lmdb"}
    assert users <= {"store"}


def test_the_daemon_takes_only_the_contract_from_the_client() -> None:
    wrong = [
        f"{file} imports {name}"
        for file, _, name in _daemon_imports()
        if name.split(".")[0] == "oblix" and not name.startswith("oblix.v1")
    ]
    assert not wrong


def test_the_client_knows_nothing_of_the_daemon() -> None:
    wrong = [
        f"{path.relative_to(tree.ROOT)} imports {name}"
        for path in CLIENT
        for name in tree.imports(path, tree.ROOT / "client")
        if name.split(".")[0] in {*HEAVY, "oblixd"}
    ]
    assert not wrong


def test_oblix_testing_needs_the_standard_library_only() -> None:
    wrong = [
        f"{path.relative_to(tree.ROOT)} imports {name}"
        for path in TESTING
        for name in tree.imports(path, tree.ROOT / "client")
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("oblix.testing")
    ]
    assert not wrong


def _modules_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import oblix", "from oblix import OblixClient, ModelType"])
def test_importing_the_client_loads_nothing_heavy(statement: str) -> None:
    loaded = {name.split(".")[0] for name in _modules_after(statement)}
    assert not loaded & {*HEAVY, "oblixd", "rich", "argparse"}


def test_importing_the_package_alone_loads_nothing() -> None:
    loaded = _modules_after("import oblix")
    assert {name for name in loaded if name.split(".")[0] == "oblix"} == {"oblix"}
    assert "grpc" not in loaded


def test_the_contract_loads_nothing_else_of_the_client() -> None:
    loaded = _modules_after("import oblix.v1.sessions_pb2, oblix.v1.executions_pb2")
    ours = {name for name in loaded if name.split(".")[0] == "oblix"} - {"oblix", "oblix.v1"}
    assert ours
    assert all(name.startswith("oblix.v1.") for name in ours)
    assert "grpc" not in loaded
