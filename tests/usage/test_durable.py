"""What was told as ended is in the books, also where the daemon is killed right after."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.testing import OllamaServer
from support.drivers.daemon import run_daemon

PRICES = {"OBLIX_USAGE_PRICES": "ollama:*=1/1", "OBLIX_EMBEDDED_ENABLED": "false"}


async def test_a_kill_after_the_end_loses_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path))
    with OllamaServer(["llama2"]) as server:
        with run_daemon(tmp_path, **PRICES) as daemon:
            client = OblixClient()
            await client.hook_model("ollama", "llama2", endpoint=server.url)
            await client.execute("What is up?", request_id="once", stream=False)
            daemon.kill()
        with run_daemon(tmp_path, **PRICES):
            total = OblixClient().usage().total
    assert total["executions"] == 1
    assert total["output_tokens"] > 0
    assert total["cost"] == pytest.approx((total["input_tokens"] + total["output_tokens"]) / 1e6)
