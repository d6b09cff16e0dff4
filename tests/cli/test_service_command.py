"""What service managers are given. `tests/robustness/test_service.py` runs it under a real one."""

from __future__ import annotations

import configparser
import os
import plistlib
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from oblix._launcher import units
from support.drivers.daemon import run_daemon
from support.repository import files

HARDENED = {
    "PrivateUsers": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "OOMPolicy": "continue",
    "Restart": "on-failure",
}


def service_of(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser["Service"])


@pytest.mark.parametrize(
    ("version", "kind"), [(252, "notify"), (253, "notify-reload"), (257, "notify-reload")]
)
def test_the_unit_reloads_as_its_systemd_can(version: int, kind: str) -> None:
    service = service_of(units.systemd_unit(version, {}))
    assert service["Type"] == kind
    assert ("ExecReload" in service) == (version < units.RELOADS_BY_NOTICE)
    assert HARDENED.items() <= service.items()


def test_the_unit_uses_no_directory_that_systemd_makes() -> None:
    service = service_of(units.systemd_unit(252, {}))
    assert not {name for name in service if name.endswith("Directory")}


def test_directories_of_the_shell_are_the_services_too() -> None:
    environ = {"XDG_STATE_HOME": "/data/my state", "XDG_CONFIG_HOME": "relative"}
    service = service_of(units.systemd_unit(252, environ))
    assert service["Environment"] == '"XDG_STATE_HOME=/data/my state"'
    assert service["ReadWritePaths"] == '-"/data/my state"'


def test_the_command_names_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/100% mine/python")
    service = service_of(units.systemd_unit(252, {}))
    assert shlex.split(service["ExecStart"])[0] == "/opt/100%% mine/python"


@pytest.mark.parametrize(
    ("python", "is_hidden"),
    [("/tmp/clone/.venv/bin/python", True), ("/var/tmp/python", True), ("/opt/tmp/python", False)],
)
def test_an_installation_below_tmp_is_known(
    monkeypatch: pytest.MonkeyPatch, python: str, is_hidden: bool
) -> None:
    """The service would not find it: it has a /tmp of its own."""
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr(units, "__file__", "/opt/oblix/units.py")
    assert units.hidden_path() == (Path(python) if is_hidden else None)


def test_a_python_below_tmp_that_an_environment_elsewhere_links_to_is_known(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    (home / "python").touch()
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "executable", "/proc/self/cwd/python")
    monkeypatch.setattr(units, "__file__", "/opt/oblix/units.py")
    assert units.hidden_path() == (home / "python").resolve()


def test_a_limit_of_memory_may_be_left_out() -> None:
    assert "MemoryMax" not in service_of(units.systemd_unit(252, {}, memory_max=""))
    assert service_of(units.systemd_unit(252, {}, memory_max="8G"))["MemoryMax"] == "8G"


def test_the_property_list_is_one() -> None:
    found = plistlib.loads(units.launchd_list(Path("/tmp/a&b.log")).encode())
    assert found["ProgramArguments"] == units.command()
    assert found["StandardErrorPath"] == "/tmp/a&b.log"
    assert found["KeepAlive"] == {"SuccessfulExit": False}


def oblix(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_print_writes_nothing(home: Path) -> None:
    done = oblix("oblix", "service", "install", "--print", XDG_CONFIG_HOME=str(home / "config"))
    assert "[Install]\nWantedBy=default.target" in done.stdout
    assert not (home / "config").exists()


def test_with_a_home_of_its_own_it_is_no_service() -> None:
    done = oblix("oblix", "service", "install")
    assert (done.returncode, "unset OBLIX_HOME" in done.stderr) == (1, True)


def test_a_container_asks_for_the_health(home: Path) -> None:
    done = oblix("oblix.health")
    assert (done.returncode, "no daemon answers" in done.stderr) == (1, True)
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):
        assert oblix("oblix.health").returncode == 0


def test_the_image_is_built_of_all_that_the_wheel_is_made_of() -> None:
    dockerfile = (files.ROOT / "Dockerfile").read_text()
    project = tomllib.loads((files.ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = {Path(one).parts[0] for one in (*wheel["packages"], *wheel["force-include"])}
    assert {one for one in wanted if f"COPY {one} {one}\n" not in dockerfile} == set()
