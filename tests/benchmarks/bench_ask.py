"""First token of a process that lives for one prompt: `oblix ask` against a program with OpenAI's own SDK."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from measure import Line, report, serve_module
from support.drivers.daemon import run_daemon
from support.proxies import certificates

ROUNDS = 10
MODEL = "gpt-4o-mini"
SDK = f"""
from openai import OpenAI
answer = OpenAI().chat.completions.create(
    model={MODEL!r}, stream=True, messages=[{{"role": "user", "content": "What is gravity?"}}]
)
for chunk in answer:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


def main() -> int:
    """Both in turn, over a plain connection and over TLS. The daemon runs, as it does on a workstation."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ExitStack() as life:
        certificate = certificates.make(Path(folder), "IP:127.0.0.1")
        model = ["oblix.testing", "openai", "--model", MODEL, "--answer", "It pulls."]
        url = life.enter_context(serve_module(*model)).removesuffix("/v1")
        port = life.enter_context(serve_module("support.proxies.tls_front", url, str(certificate)))
        trust = {
            "SSL_CERT_FILE": str(certificate),
            "OBLIX_NETWORK_CA_FILE": str(certificate),
            "OPENAI_API_KEY": "sk-bench",
        }
        life.enter_context(run_daemon(Path(folder), **trust))
        environ = {**os.environ, **trust, "OBLIX_HOME": folder}
        results = [
            report(f"First token of a fresh process, {way}: ms", rows(f"{base}/v1", environ))
            for way, base in {"plain": url, "TLS": f"https://127.0.0.1:{port}"}.items()
        ]
    return max(results)


def rows(url: str, environ: dict[str, str]) -> list[Line]:
    """Medians of both, process by process in turn."""
    oblix = [str(Path(sys.executable).with_name("oblix")), "ask", "--new", "--no-metrics"]
    oblix += ["--model", f"openai:{MODEL}", "--endpoint", url, "What is gravity?"]
    sides = [oblix, [sys.executable, "-c", SDK]]
    environ = {**environ, "OPENAI_BASE_URL": url}
    times = [[first_ms(words, environ) for words in sides] for _ in range(ROUNDS + 1)][1:]
    ours, theirs = (statistics.median(own) for own in zip(*times, strict=True))
    return [
        Line("a program with the openai SDK", theirs, "ms"),
        Line("oblix ask", ours, "ms"),
        Line("oblix ask / SDK", ours / theirs, "x", 1.0),
    ]


def first_ms(words: list[str], environ: dict[str, str]) -> float:
    """From the start of a process to the first byte that it writes."""
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        took = time.perf_counter() - began
        assert first + process.stdout.read() == b"It pulls.\n" or first == b"I"
    assert process.returncode == 0
    return took * 1e3


if __name__ == "__main__":
    raise SystemExit(main())
