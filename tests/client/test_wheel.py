"""The wheel: what it carries, and that a client which is found by PYTHONPATH alone starts its daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support.repository import files

PROTOS = files.ROOT / "protos/oblix/v1"
PROGRAM = """
import json, os, pathlib, sys
import oblix
with oblix.Client() as client:
    info = client.machine.info()
maps = pathlib.Path(f"/proc/{info.pid}/environ").read_bytes().decode().split(chr(0))
print(json.dumps([oblix.__file__, info.version, next(one for one in maps if one.startswith("PYTHONPATH="))]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=files.ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_contract_is_beside_its_stubs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if name.endswith(".proto")}
        assert carried == {f"oblix/v1/{path.name}" for path in PROTOS.glob("*.proto")}
        texts = [archive.read(name).decode() for name in carried]
    assert all('option go_package = "oblix/v1;oblixv1";' in text for text in texts)


def test_a_client_in_a_target_directory_starts_the_daemon_that_lies_there(
    wheel: Path, home: Path, tmp_path: Path
) -> None:
    target, script = tmp_path / "target", tmp_path / "program" / "main.py"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    script.parent.mkdir()
    script.write_text(PROGRAM)
    # The daemon must not find this one in the place of the standard library's.
    script.with_name("tomllib.py").write_text("raise SystemExit('the wrong module')\n")
    # The bare interpreter knows nothing of this environment. PYTHONPATH reads no .pth files.
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    libraries = sysconfig.get_path("purelib")
    environ = {**os.environ, "OBLIX_EMBEDDED_ENABLED": "false", "PYTHONPATH": f"{target}:{libraries}"}
    done = subprocess.run(
        [python, script], env=environ, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    place, version, paths = json.loads(done.stdout)
    assert Path(place).is_relative_to(target)
    assert version
    assert str(target) in paths
    assert str(script.parent) not in paths
