"""The plug-in in a real Neovim without a screen, against a real daemon and a scripted model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.testing import Answer, OllamaServer
from oblix.testing.faults import Stall
from support.drivers.daemon import run_daemon
from support.repository import files

pytestmark = pytest.mark.nvim

PLUGIN = files.ROOT / "client/nvim"
HELPERS = """
local oblix = require("oblix")
local function text(buffer) return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\\n") end
local function shown(name)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_get_name(buffer):find(name, 1, true) then return text(buffer), buffer end
  end
  return ""
end
local function wait(condition) assert(vim.wait(60000, condition, 20), "it never came to that") end
local function rest() wait(function() return not oblix.is_running() end) end
local function ask(words, range) oblix.ask(words, range) rest() end
local function waits_for(words)
  wait(function() return shown("oblix://session"):find(words, 1, true) end)
end
"""

Script = Callable[[str], str]


WRAPPER = """
local ok, why = pcall(function()
{helpers}{setup}{script}
end)
if not ok then io.stderr:write(tostring(why)) vim.cmd("cquit 1") end
vim.cmd("qall!")
"""


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(["toy"]) as server:
        yield server


@pytest.fixture
def nvim(tmp_path: Path, server: OllamaServer, home: Path) -> Iterator[Script]:
    """Runs a script in Neovim and returns what it printed."""
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false"):

        def run(script: str) -> str:
            path = tmp_path / "script.lua"
            setup = (
                f'oblix.setup({{ command = {{ "{sys.executable}", "-m", "oblix" }},'
                f' options = {{ "--model", "ollama:toy", "--endpoint", "{server.url}" }} }})\n'
            )
            path.write_text(WRAPPER.format(helpers=HELPERS, setup=setup, script=script))
            done = subprocess.run(
                ["nvim", "--headless", "-u", "NONE", "-i", "NONE", "--cmd", f"set rtp+={PLUGIN}",
                 "-c", "runtime plugin/oblix.lua", "-c", f"luafile {path}"],
                check=False, capture_output=True, text=True, timeout=240, env=os.environ,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stderr

        yield run


def test_it_asks_about_the_selection_and_goes_on_in_the_session(nvim: Script, server: OllamaServer) -> None:
    server.script("It adds.", "Still adding.")
    nvim("""
    vim.api.nvim_buf_set_lines(0, 0, -1, false, {"a = 1", "b = a + 1", "c = 2"})
    vim.bo.filetype = "python"
    vim.cmd("2,2OblixAsk What does this do?")
    wait(function() return not oblix.is_running() end)
    ask("And now?")
    local said = shown("oblix://answer")
    assert(said:find("It adds.", 1, true) and said:find("Still adding.", 1, true), said)
    """)
    client = OblixClient()
    (session,) = client.list_sessions()
    said = [message["content"] for message in client.load_session(session["id"])["messages"]]
    assert said == [
        "What does this do?\n\n```python\nb = a + 1\n```",
        "It adds.",
        "And now?",
        "Still adding.",
    ]


def test_stopping_keeps_the_part(nvim: Script, server: OllamaServer) -> None:
    server.script(Answer("one two three", fault=Stall(after=2)))
    nvim("""
    oblix.ask("Count")
    wait(function() return shown("oblix://answer"):find("one two", 1, true) end)
    vim.cmd("OblixStop")
    wait(function() return not oblix.is_running() end)
    """)
    client = OblixClient()
    (session,) = client.list_sessions()
    answer = client.load_session(session["id"])["messages"][1]
    assert (answer["content"], answer["status"]) == ("one two", "cancelled")


def test_a_second_editor_follows_live(nvim: Script, server: OllamaServer) -> None:
    """What another program asks, here `oblix ask`, appears while it is written."""
    server.script("First.", Answer("one two three", fault=Stall(after=2)))
    nvim("""
    ask("Begin")
    oblix.follow()
    waits_for("First.")
    local words = vim.list_extend(vim.deepcopy(oblix.config.command), {"ask", "--session", oblix.session()})
    local other = vim.fn.jobstart(vim.list_extend(vim.list_extend(words, oblix.config.options), {"Go on"}))
    waits_for("Go on")
    waits_for("one two")
    vim.loop.kill(vim.fn.jobpid(other), "sigint")
    vim.fn.jobwait({other})
    """)


def test_a_failure_is_told_in_the_buffer(nvim: Script) -> None:
    nvim("""
    oblix.setup({ options = { "--session", "no-such-session" } })
    ask("Hello")
    assert(shown("oblix://answer"):find("no-such-session", 1, true), shown("oblix://answer"))
    """)
