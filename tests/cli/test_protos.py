"""`oblix protos`, and what other languages' tools make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from oblix.testing import OllamaServer
from support.repository import files

BIN = Path(sys.executable).parent


def tool(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_every_file_after_those_that_it_imports(oblix_alone: Callable, tmp_path: Path) -> None:
    path = tmp_path / "oblix.binpb"
    oblix_alone("protos", "-o", str(path))
    described = FileDescriptorSet.FromString(path.read_bytes())
    seen: set[str] = set()
    for file in described.file:
        assert set(file.dependency) <= seen
        seen.add(file.name)
    assert {f"oblix/v1/{proto.name}" for proto in (files.ROOT / "protos/oblix/v1").glob("*.proto")} <= seen


def test_buf_and_grpcurl_read_it(
    oblix: Callable, ask: Callable, ollama: OllamaServer, tmp_path: Path
) -> None:
    """The steps of the page for other languages: the contract, a prompt, a cancel."""
    path = tmp_path / "oblix.binpb"
    oblix("protos", "-o", str(path))
    assert json.loads(tool(BIN / "buf", "build", path, "-o", "-#format=json"))["file"]
    socket = oblix("status", "--socket").stdout.strip()
    call = [BIN / "grpcurl", "-plaintext", "-unix", "-protoset", path]
    hook = {"provider": "PROVIDER_OLLAMA", "name": "llama2", "endpoint": ollama.url}
    handle = json.loads(tool(*call, "-d", json.dumps(hook), socket, "oblix.v1.ModelService/HookModel"))[
        "handle"
    ]
    prompt = {
        "requestId": "shell-1",
        "candidates": [handle],
        "input": [{"role": "ROLE_USER", "parts": [{"text": "What is gravity?"}]}],
    }
    said = tool(*call, "-d", json.dumps(prompt), socket, "oblix.v1.ExecutionService/Execute")
    assert "FINISH_REASON_STOP" in said
    cancelled = tool(
        *call, "-d", '{"requestId": "shell-1"}', socket, "oblix.v1.ExecutionService/CancelExecution"
    )
    assert json.loads(cancelled)["execution"]["state"] == "EXECUTION_STATE_COMPLETED"
