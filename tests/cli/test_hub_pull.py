"""`oblix models pull hf:…` against a local server that speaks the hub's API."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from oblix.cli.commands.models import hub
from oblix.cli.commands.models.hub import HubFile
from oblix.cli.errors import CommandError

REPO = "someone/Small-GGUF"
COMMIT = "a" * 40
FILES = {
    "small-Q4_K_M.gguf": b"GGUF" + bytes(range(256)) * 400,
    "small-Q8_0.gguf": b"GGUF" + bytes(200_000),
    # The library keeps what came in steps of ten megabytes.
    "small-BF16.gguf": b"GGUF" + bytes(24_000_000),
    "mmproj-small-F16.gguf": b"GGUF",
    "README.md": b"# Small",
}


class Hub(BaseHTTPRequestHandler):
    """Two paths of the hub: what a repository has, and its files, also from an offset on."""

    damaged = False
    cuts = 0
    """How many downloads break off after half of what they were asked for."""
    ranges: list[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == f"/api/models/{REPO}":
            siblings = [self._sibling(name, data) for name, data in FILES.items()]
            self._send(json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/{REPO}/resolve/"):
            self._send_file(FILES[path.rpartition("/")[2]])
        else:
            self._send(b'{"error": "Repository not found"}', status=404, **{"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _sibling(self, name: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data + b"!" * self.damaged).hexdigest()
        return {
            "rfilename": name,
            "size": len(data),
            "lfs": {"sha256": digest, "size": len(data), "pointerSize": 1},
        }

    def _send_file(self, data: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        self.ranges.append(self.headers.get("Range") or "")
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        headers = {"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        status = 206 if start else 200
        if self.cuts and self.command == "GET":
            self._send_half(data[start:], headers, status)
        else:
            self._send(data[start:], status=status, **headers)

    def _send(self, data: bytes, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _send_half(self, data: bytes, headers: dict[str, str], status: int) -> None:
        """Promise all of it, send a half, and hang up."""
        type(self).cuts -= 1
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("OneHub", (Hub,), {"ranges": [], "damaged": False, "cuts": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def pull(server: ThreadingHTTPServer, home: Path, model: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(home / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "oblix", "models", "pull", model],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_usual_quantisation_comes_and_is_checked(server: ThreadingHTTPServer, home: Path) -> None:
    done = pull(server, home, f"hf:{REPO}")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.read_bytes() == FILES["small-Q4_K_M.gguf"]
    assert f"oblix models add embedded:small-q4_k_m --file {path}" in done.stderr
    again = pull(server, home, f"hf:{REPO}:q4_k_m")
    assert again.stdout == done.stdout


def test_one_that_is_named_comes(server: ThreadingHTTPServer, home: Path) -> None:
    done = pull(server, home, f"hf:{REPO}:Q8_0")
    assert Path(done.stdout.strip()).read_bytes() == FILES["small-Q8_0.gguf"]


def test_a_damaged_download_is_removed(server: ThreadingHTTPServer, home: Path) -> None:
    server.RequestHandlerClass.damaged = True  # type: ignore[attr-defined]
    done = pull(server, home, f"hf:{REPO}")
    assert (done.returncode, "came damaged" in done.stderr) == (1, True)
    assert not list((home / "hub").rglob("*.gguf"))


@pytest.mark.parametrize("cuts", [1, 50], ids=["a cut", "a network that stays away"])
def test_an_interrupted_download_goes_on_from_there(
    server: ThreadingHTTPServer, home: Path, cuts: int
) -> None:
    hub_class = cast("type[Hub]", server.RequestHandlerClass)
    hub_class.cuts = cuts
    done = pull(server, home, f"hf:{REPO}:BF16")
    if cuts > 1:
        assert done.returncode == 1
        assert "What has come is kept: run it again." in done.stderr
        assert "Traceback" not in done.stderr
        hub_class.cuts = 0
        hub_class.ranges.clear()
        done = pull(server, home, f"hf:{REPO}:BF16")
    assert done.returncode == 0, done.stderr
    data = FILES["small-BF16.gguf"]
    assert Path(done.stdout.strip()).read_bytes() == data
    begun_at = [int(one[6:].partition("-")[0]) for one in hub_class.ranges if one]
    assert any(0 < start < len(data) for start in begun_at), "it began anew"


def test_a_repository_that_is_not_there_is_told(server: ThreadingHTTPServer, home: Path) -> None:
    done = pull(server, home, "hf:someone/nothing")
    assert done.returncode == 1
    assert "the hub shows no someone/nothing" in done.stderr


@pytest.mark.parametrize("model", ["hf:nobody", "hf:a/b/c", "gguf:x"])
def test_a_malformed_name_is_wrong_usage(server: ThreadingHTTPServer, home: Path, model: str) -> None:
    assert pull(server, home, model).returncode == 2


def files(*names: str) -> list[HubFile]:
    return [HubFile(name, 1, "") for name in names]


def test_a_pull_takes_the_file_that_is_meant() -> None:
    many = files(
        "a-Q4_K_M.gguf", "a-IQ2_XXS.gguf", "a.F16.gguf", "a-Q8_0-00001-of-00002.gguf", "mmproj-a-Q4_K_M.gguf"
    )
    assert hub.choose(many, "", REPO).name == "a-Q4_K_M.gguf"
    assert hub.choose(many, "F16", REPO).name == "a.F16.gguf"
    assert hub.choose(files("model.gguf"), "", REPO).name == "model.gguf"
    with pytest.raises(CommandError, match="There are F16, IQ2_XXS, Q4_K_M"):
        hub.choose(many, "Q8_0", REPO)
    with pytest.raises(CommandError, match="split into parts"):
        hub.choose(files("a-Q8_0-00001-of-00002.gguf"), "", REPO)
