"""Which package may import which, read from the source: the arrows all point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support.repository import files

ARROWS = {
    "rpc": {
        "access",
        "config",
        "execution",
        "http",
        "router",
        "routing",
        "models",
        "monitor",
        "sessions",
        "usage",
    },
    "http": {"access", "execution", "router", "models", "sessions"},
    "execution": {"router", "scheduling", "routing", "models", "sessions", "usage"},
    "router": {"scheduling", "routing", "models", "monitor", "sessions", "usage"},
    "scheduling": {"models"},
    "sessions": {"store"},
    "usage": {"store"},
    "access": set(),
    "routing": set(),
    "models": set(),
    "monitor": set(),
    "store": set(),
    "config": {"access", "models", "routing", "usage"},
    "admin": {"access", "app", "config", "models", "sessions", "store", "usage"},
}
"""What each package may import. `app` wires all of them and is imported by `admin` and `__main__` only."""
SHARED = {
    "background",
    "client_memory",
    "errors",
    "failpoints",
    "fields",
    "patterns",
    "protobuf_time",
    "redaction",
    "__version__",
}
"""Modules beside the packages that everything may import."""
OWN_DOORS = {"app", "config", "admin", "store"}
"""Packages whose modules are imported by name: the composition root, and the store with its offline tools."""
INSIDERS = {"app", "config", "admin", "__main__.py"}
"""Who imports modules of other packages by name: what starts early must not load whole packages."""
GRPC = {"grpc", "grpc_health", "grpc_reflection"}
HEAVY = {"aiohttp", "httpx", "lmdb", "psutil", "xllamacpp"}
DAEMON = files.sources("oblixd")
CLIENT = [path for path in files.sources("client/oblix") if "testing" not in path.parts]
TESTING = files.sources("client/oblix/testing")


def _daemon_imports() -> Iterator[tuple[str, str, str]]:
    """(file, its package or "" for the modules beside the packages, dotted import)."""
    for path in DAEMON:
        inside = path.relative_to(files.ROOT / "oblixd")
        package = inside.parts[0] if len(inside.parts) > 1 else ""
        yield from ((str(inside), package, name) for name in files.imports(path))


def test_the_rules_see_the_source() -> None:
    assert {path.parent.name for path in DAEMON} >= set(ARROWS)
    assert CLIENT


def test_packages_import_one_way() -> None:
    wrong = [
        f"{file} imports {name}"
        for file, package, name in _daemon_imports()
        if package not in ("", "app") and name.startswith("oblixd.") and not _is_allowed(package, name)
    ]
    assert not wrong


def _is_allowed(package: str, name: str) -> bool:
    return name.split(".")[1] in {package} | SHARED | ARROWS[package]


def test_the_arrows_have_no_cycle() -> None:
    left = {package: set(targets) for package, targets in ARROWS.items()}
    while left:
        free = {package for package, targets in left.items() if not targets & set(left)}
        assert free, left
        left = {package: targets for package, targets in left.items() if package not in free}


def _symbols(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of what a file imports from the daemon's modules by `from module import name`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oblixd."):
            for alias in node.names:
                yield str(node.module), alias.name


def _is_module(dotted: str) -> bool:
    return (files.ROOT / (dotted.replace(".", "/") + ".py")).is_file()


def test_packages_are_entered_by_their_front_door() -> None:
    """`from oblixd.models import Registry`, not `from oblixd.models.registry import Registry`."""
    wrong = []
    for path in DAEMON:
        own = path.relative_to(files.ROOT / "oblixd").parts[0]
        for module, name in _symbols(path):
            target = module.split(".")[1]
            inside = _is_module(module) and module.count(".") > 1
            if inside and target not in {own} | OWN_DOORS and own not in INSIDERS:
                wrong.append(f"{path.relative_to(files.ROOT)}: from {module} import {name}")
    assert not wrong


def test_only_rpc_knows_grpc() -> None:
    wrong = [
        f"{file} imports {name}"
        for file, package, name in _daemon_imports()
        if package != "rpc" and (name.split(".")[0] in GRPC or "_grpc" in name)
    ]
    assert not wrong


def test_only_the_store_knows_lmdb() -> None:
    users = {package for _, package, name in _daemon_imports() if name.split(".")[0] == "lmdb"}
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
        f"{path.relative_to(files.ROOT)} imports {name}"
        for path in CLIENT
        for name in files.imports(path, files.ROOT / "client")
        if name.split(".")[0] in {*HEAVY, "oblixd"}
    ]
    assert not wrong


def test_oblix_testing_needs_the_standard_library_only() -> None:
    wrong = [
        f"{path.relative_to(files.ROOT)} imports {name}"
        for path in TESTING
        if path.name != "pytest_plugin.py"  # pytest itself loads it
        for name in files.imports(path, files.ROOT / "client")
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


def test_the_daemon_serves_before_it_loads_what_only_calls_need() -> None:
    """They are imported right after it serves, or when somebody needs them."""
    loaded = _modules_after("import oblixd.__main__, oblixd.app.daemon")
    assert "oblixd.rpc.server" in loaded
    late = {
        "aiohttp",
        "grpc_reflection.v1alpha.reflection",
        "html",
        "oblixd.app.telemetry.recorder",
        "oblixd.http.endpoint",
    }
    assert not loaded & late


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


@cache
def _names_of(path: Path) -> set[str]:
    """Return what can be imported of a module or a folder."""
    inside = path / "__init__.py" if path.is_dir() else path
    beside = {one.stem for one in path.iterdir()} if path.is_dir() else set()
    return beside | (_bound_names(inside) if inside.is_file() else set())


def _bound_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _source_of(name: str, importer: Path) -> Path | None:
    """Find a module of the tests' own: in `support`, or a benchmark's neighbour. None: it is another's."""
    parts = name.split(".")
    folder = importer.parent if parts[0] != "support" else files.ROOT / "tests"
    path = folder.joinpath(*parts)
    return path if path.is_dir() else path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def test_names_that_tests_import_of_each_other_exist() -> None:
    """Benchmarks, agents and faults do not run with the suite, so a name that is gone would show late."""
    imported = [
        (path, node.module, alias.name)
        for path in files.sources("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    ]
    missing = [
        f"{path.relative_to(files.ROOT)}: {module}.{name}"
        for path, module, name in imported
        if (found := _source_of(module, path)) is not None and name not in _names_of(found)
    ]
    assert missing == []
