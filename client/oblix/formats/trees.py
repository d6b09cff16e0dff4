"""Conversations that are trees: each edit and each new answer is a branch of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix._checks import invalid, shown
from oblix.formats.conversations import mapping


def branch(nodes: Mapping[str, Any], leaf: object, *, parent: str, path: str) -> list[Mapping[str, Any]]:
    """The nodes from the root to a leaf. `parent` is the key under which a node names the one before.

    Raises InvalidArgumentError where a node is missing or the way to the root is a circle.
    """
    found: dict[str, Mapping[str, Any]] = {}
    while leaf is not None:
        if not isinstance(leaf, str) or leaf not in nodes:
            raise invalid(path, "a tree without gaps", f"no node {shown(leaf)}", "BROKEN_TREE")
        if leaf in found:
            raise invalid(path, "a tree", f"a circle at node {shown(leaf)}", "CYCLIC_TREE")
        found[leaf] = mapping(nodes[leaf], f"{path}[{shown(leaf)}]")
        leaf = found[leaf].get(parent)
    return list(found.values())[::-1]


def newest_leaf(nodes: Mapping[str, Any], *, parent: str, path: str) -> str | None:
    """The last of the nodes that no other one follows: for trees that don't say which branch was read."""
    parents = (node.get(parent) for node in nodes.values() if isinstance(node, dict))
    followed = {name for name in parents if isinstance(name, str)}
    leaves = [name for name in nodes if name not in followed]
    if nodes and not leaves:
        raise invalid(path, "a tree", "a circle of all nodes", "CYCLIC_TREE")
    return leaves[-1] if leaves else None
