"""The code blocks and the commands of a how-to page, for the tests that run them."""

from __future__ import annotations

import re

from support.repository.files import ROOT


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a language, in order."""
    text = (ROOT / "docs/how-to" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def console_scripts(page: str) -> list[str]:
    """Return what a reader types, one script for each block: prompts are taken off, output is left out."""
    return [_typed_commands(block) for block in blocks(page, "console")]


def _typed_commands(block: str) -> str:
    lines: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            lines.append(line[2:])
        elif lines and lines[-1].endswith("\\"):
            lines.append(line)
    return "\n".join(lines) + "\n"
