"""The protos and what is generated from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.repository import files

BUF = Path(sys.executable).with_name("buf")
PROJECT = tomllib.loads((files.ROOT / "pyproject.toml").read_text())["project"]
STUBS = files.tracked_files("*_pb2.py", "*_pb2_grpc.py")


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUF, "lint"], check=False, cwd=folder, capture_output=True, text=True)


def _break(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [BUF, "breaking", "--against", files.ROOT / "protos/baseline.binpb"]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_the_contract_breaks_no_client_of_the_baseline() -> None:
    done = _break(files.ROOT / "protos")
    assert done.returncode == 0, done.stdout


def test_a_field_that_is_gone_is_found(tmp_path: Path) -> None:
    shutil.copytree(files.ROOT / "protos", tmp_path / "protos")
    proto = tmp_path / "protos/oblix/v1/daemon.proto"
    proto.write_text(proto.read_text().replace("  int32 pid = 2;\n", ""))
    assert "pid" in _break(tmp_path / "protos").stdout


def test_protos_are_clean() -> None:
    done = _lint(files.ROOT / "protos")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "broken",
    [
        "message Silent {}",
        "// A.\nmessage A {\n string silent = 1;\n}",
        "// E.\nenum E {\n E_UNSPECIFIED = 0;\n}",
    ],
    ids=["message", "field", "enum value"],
)
def test_an_element_without_a_comment_is_found(tmp_path: Path, broken: str) -> None:
    (tmp_path / "buf.yaml").write_text((files.ROOT / "protos/buf.yaml").read_text())
    proto = tmp_path / "some/v1/some.proto"
    proto.parent.mkdir(parents=True)
    proto.write_text(f'syntax = "proto3";\npackage some.v1;\n{broken}\n')
    assert "comment" in _lint(tmp_path).stdout


def _floor(name: str) -> Version:
    requirement = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == name)
    return next(Version(s.version) for s in requirement.specifier if s.operator == ">=")


def _versions(pattern: str) -> set[Version]:
    found = [re.search(pattern, path.read_text()) for path in STUBS]
    return {Version(match[1]) for match in found if match}


def test_floors_are_the_versions_that_the_stubs_were_made_for() -> None:
    assert _versions(r"# Protobuf Python Version: (\S+)") == {_floor("protobuf")}
    assert _versions(r"GRPC_GENERATED_VERSION = '(\S+)'") == {_floor("grpcio")}
    assert _floor("grpcio-health-checking") == _floor("grpcio-reflection") == _floor("grpcio")


def test_the_suite_at_the_floors_runs_on_the_floors() -> None:
    locked = _locked_versions("floors")
    assert {name: locked[name] for name in ("protobuf", "grpcio")} == {
        "protobuf": _floor("protobuf"),
        "grpcio": _floor("grpcio"),
    }


def _locked_versions(name: str) -> dict[str, Version]:
    text = (files.ROOT / f"requirements/{name}.lock").read_text()
    return {
        canonicalize_name(n): Version(v) for n, v in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("lock", ["run", "dev", "floors"])
def test_locks_satisfy_what_the_project_asks_for(lock: str) -> None:
    locked = _locked_versions(lock)
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["embedded"], *_floors_of("run")]
    asked += [] if lock == "run" else _floors_of("dev")
    wrong = [str(r) for r in map(Requirement, asked) if locked[canonicalize_name(r.name)] not in r.specifier]
    assert not wrong


def _floors_of(name: str) -> list[str]:
    lines = (files.ROOT / f"requirements/{name}.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", files.tracked_files("requirements/*.lock"), ids=lambda path: path.stem)
def test_locks_name_no_index_and_hash_everything(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    pinned = re.findall(r"^[\w.-]+==.*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 0
