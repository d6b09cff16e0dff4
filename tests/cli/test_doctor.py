"""`oblix doctor` against an installation in which faults were planted, one by one and all together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from oblix._launcher import units
from oblix.cli.commands.service import doctor
from oblix.cli.doctor import Surroundings, files
from oblix.testing import OllamaServer
from support.drivers.daemon import run_daemon

QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}
Environ = dict[str, str]


def run(*words: str, environ: Environ) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oblix", *words],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def well(home: Path, monkeypatch: pytest.MonkeyPatch) -> Environ:
    """An environment in which nothing is wrong."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    bin_directory = home.parent / f"{home.name}-bin"
    return {**QUIET, "PATH": str(bin_directory), "XDG_CONFIG_HOME": str(home / "xdg")}


def findings_of(environ: Environ) -> dict[str, dict[str, str]]:
    """Run the command, and return what it found by code, without what is well."""
    done = run("doctor", "--json", "--quiet", environ=environ)
    findings = {one["code"]: one for one in json.loads(done.stdout)}
    assert done.returncode == any(one["level"] == "fault" for one in findings.values())
    return findings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def open_directory(home: Path, environ: Environ) -> None:
    home.chmod(0o755)


def open_token(home: Path, environ: Environ) -> None:
    (home / "tokens.json").write_text("{}")
    (home / "tokens.json").chmod(0o644)


def broken_configuration(home: Path, environ: Environ) -> None:
    (home / "config.toml").write_text("[daemon]\ngrace = 5\n")


def open_key(home: Path, environ: Environ) -> None:
    key = home / "openai.key"
    key.write_text("sk-of-mine")
    key.chmod(0o644)
    (home / "config.toml").write_text(f'[openai]\nmodels = ["gpt-4o"]\nkey_file = "{key}"\n')


def taken_place(home: Path, environ: Environ) -> None:
    (home / "oblixd.sock").write_text("not a socket")


def proxy_of_the_shell(home: Path, environ: Environ) -> None:
    environ["HTTPS_PROXY"] = "http://proxy.example:3128"


def second_command(home: Path, environ: Environ) -> None:
    for name in ("one", "two"):
        command = home / name / "oblix"
        command.parent.mkdir()
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
    environ["PATH"] = f"{home}/one:{home}/two"


def silent_ollama(home: Path, environ: Environ) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    (home / "config.toml").write_text(f'[ollama]\nendpoint = "{endpoint}"\nmodels = ["llama3"]\n')


def other_ollama(home: Path, environ: Environ) -> None:
    environ["OLLAMA_HOST"] = "gpu.example:11434"


def clock_that_went_back(home: Path, environ: Environ) -> None:
    (home / "oblixd.log").touch()
    later = time.time() + 30 * 86_400
    os.utime(home / "oblixd.log", (later, later))


def service_of_a_python_that_is_gone(home: Path, environ: Environ) -> None:
    file = units.unit_file(environ)
    file.parent.mkdir(parents=True)
    text = units.systemd_unit(252, {})
    file.write_text(text.replace(sys.executable, "/opt/gone/bin/python"))


def relative_home(home: Path, environ: Environ) -> None:
    environ["OBLIX_HOME"] = "oblix"


def address_of_nobody(home: Path, environ: Environ) -> None:
    environ["OBLIX_ADDRESS"] = f"tcp://127.0.0.1:{free_port()}"


PLANTED: dict[str, Callable[[Path, Environ], None]] = {
    "directory-open": open_directory,
    "secret-open": open_token,
    "configuration": broken_configuration,
    "socket-place-taken": taken_place,
    "proxy-unused": proxy_of_the_shell,
    "second-installation": second_command,
    "ollama-unreachable": silent_ollama,
    "ollama-host": other_ollama,
    "clock-wrong": clock_that_went_back,
    "service-broken": service_of_a_python_that_is_gone,
    "directory-unusable": relative_home,
    "address-unreachable": address_of_nobody,
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_found_with_what_to_do(code: str, home: Path, well: Environ) -> None:
    PLANTED[code](home, well)
    findings = findings_of(well)
    assert code in findings
    assert findings[code]["remedy"]
    others = {one for one, finding in findings.items() if finding["level"] in ("fault", "warning")} - {code}
    assert others <= ({"configuration"} if code == "directory-unusable" else set())


def test_ollama_is_asked_where_the_models_are(home: Path, well: Environ) -> None:
    with OllamaServer(["llama2"]) as server:
        for endpoint in (server.url, f"http://127.0.0.1:{free_port()}"):
            table = f'provider = "ollama"\nname = "llama2"\nendpoint = "{endpoint}"'
            (home / "config.toml").write_text(f"[[models]]\n{table}\n")
            found = findings_of(well).get("ollama-unreachable")
            assert (found is None) is (endpoint == server.url)
            assert found is None or endpoint in found["what"]


def test_where_all_is_well_it_says_so(home: Path, well: Environ) -> None:
    done = run("doctor", environ=well)
    assert done.stdout.endswith("Nothing is wrong.\n")
    assert not (home / "oblixd.sock").exists()


def test_ten_at_once_are_all_found(home: Path, well: Environ) -> None:
    together = [
        code for code in PLANTED if code not in ("configuration", "directory-unusable", "address-unreachable")
    ]
    for code in together:
        PLANTED[code](home, well)
    assert set(together) <= set(findings_of(well))


def test_a_key_that_others_can_read_is_found(home: Path, well: Environ) -> None:
    open_key(home, well)
    findings = findings_of(well)
    assert "chmod 600" in findings["secret-open"]["remedy"]
    assert "openai.key" in findings["configuration"]["what"]


def test_a_daemon_that_does_not_answer_is_named_with_its_process(home: Path, well: Environ) -> None:
    with run_daemon(home, **QUIET) as daemon:
        assert "daemon-silent" not in findings_of(well)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        try:
            assert f"{daemon.process.pid}" in findings_of(well)["daemon-silent"]["what"]
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)


def test_a_port_that_the_daemon_could_not_have_is_a_fault(home: Path, well: Environ) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        (home / "config.toml").write_text(f'[[listen]]\naddress = "tcp://127.0.0.1:{port}"\n')
        with run_daemon(home, **QUIET):
            assert f"{port}" in findings_of(well)["daemon-problem"]["what"]


def test_without_the_engine_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oblix.cli.doctor.models.ENGINE", "no-such-package")
    (finding,) = doctor.models.engine(Surroundings({}))
    assert (finding.level, finding.remedy) == ("fault", "`oblix models fetch embedded`")


def test_a_full_disk_is_a_fault(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        files.shutil, "disk_usage", lambda _: files.shutil._ntuple_diskusage(1 << 40, 1 << 40, 9)
    )
    assert [one.code for one in files.room(Surroundings(os.environ))] == ["disk-full"]


def test_a_check_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    def fail(_: Surroundings) -> None:
        raise RuntimeError("broken")

    monkeypatch.setitem(doctor.CHECKS, "directories", fail)
    codes = [one.code for one in doctor.examine()]
    assert codes[0] == "check-failed"
    assert "disk" in " ".join(codes)
