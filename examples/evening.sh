#!/bin/sh
# An evening's work in three tools, found, searched and continued in a fourth.
# Needs opencode, gptme, llm and codex, an open endpoint (`oblix server`), and `oblix connect llm --write` once.
set -eu

oblix run opencode run "Which plants climb?"
oblix run gptme --non-interactive "What grows in shade?"
llm -m oblix "What lives on rocks?"

oblix import --list
oblix import --yes
oblix sessions search climb

# The newest conversation of opencode goes on in codex, which knows what was said.
session=$(oblix sessions search climb --filter tool=opencode --limit 1 --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["session_id"])')
oblix sessions export "$session" --to codex
oblix run codex exec --skip-git-repo-check resume "$session" "And which of them is tallest?"

# What was said in codex is found, too.
oblix import --yes
oblix sessions search tallest
