"""Conversations that are trees: each edit and each new answer is a branch of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from oblix.formats.conversations import Conversation, Fork
from oblix.v1 import sessions_pb2

Nodes = Mapping[str, Any]
ROOTLESS = "the tree does not say what follows what: its messages are taken in their order"
GAP = "messages whose predecessor is missing, taken as a beginning"
CIRCLE = "circles in the tree cut"
MAX_BRANCHES = 200
"""Of one conversation. Each is a conversation of its own, with all that leads to it."""
TOO_MANY = f"branches beyond the first {MAX_BRANCHES} left out"
GONE = "the branch that was read last is missing: the newest one is taken"


class Tree:
    """The nodes of a conversation, and how they follow each other. A tree with faults is read with notes."""

    def __init__(
        self, nodes: Nodes, conversation: Conversation, *, parent: str, children: str = "children"
    ) -> None:
        self.nodes = {name: node for name, node in nodes.items() if isinstance(node, dict)}
        for name in nodes.keys() - self.nodes.keys():
            if nodes[name] is not None:
                conversation.note("nodes that are no objects left out")
        self._conversation = conversation
        self._parents = self._parents_of(parent, children)
        followed = set(self._parents.values())
        self.leaves = [name for name in self.nodes if name not in followed]

    def branch(self, leaf: str | None) -> list[str]:
        """Return the names of the nodes from the beginning to a leaf."""
        names: dict[str, None] = {}
        while leaf is not None:
            if leaf in names:
                self._conversation.note(CIRCLE)
                break
            names[leaf] = None
            leaf = self._parents.get(leaf)
        return list(names)[::-1]

    def leaf(self, leaf_id: object) -> str | None:
        """Return the leaf that was read last: the one that is named, else the newest."""
        if isinstance(leaf_id, str) and leaf_id in self.nodes:
            return leaf_id
        if leaf_id:
            self._conversation.note(GONE)
        if self.leaves:
            return self.leaves[-1]
        return list(self.nodes)[-1] if self.nodes else None

    def read(self, leaf_id: object, add: Callable[[Conversation, Any], None]) -> None:
        """Add the branch that was read last to the conversation, and each other one to its branches."""
        names = self.branch(self.leaf(leaf_id))
        for name in names:
            add(self._conversation, self.nodes[name])
        main, on_main = self._conversation, set(names)
        others, seen = [leaf for leaf in self.leaves if leaf not in on_main], set(names)
        for leaf in islice(others, MAX_BRANCHES):
            branch = self.branch(leaf)
            # Named after its first own node: that stays when the branch goes on.
            self._read_other(next(name for name in branch if name not in seen), branch, on_main, add)
            seen.update(branch)
        if len(others) > MAX_BRANCHES:
            main.note(TOO_MANY, len(others) - MAX_BRANCHES)
            self._pass_over_rest(others, on_main)

    def _read_other(
        self, own: str, names: list[str], on_main: set[str], add: Callable[[Conversation, Any], None]
    ) -> None:
        session = sessions_pb2.Session()
        session.CopyFrom(self._conversation.session)
        session.id = f"{session.id}#{own}"
        other, shared = Conversation(session), 0
        for name in names:
            add(other, self.nodes[name])
            if name in on_main:
                shared = len(other.messages)
        if len(other.messages) > shared:
            other.fork = Fork(source_id="", message_count=shared)
            self._conversation.branches.append(other)
        self._conversation.settled.update(other.settled)

    def _pass_over_rest(self, others: list[str], on_main: set[str]) -> None:
        for leaf in others[MAX_BRANCHES:]:
            self._conversation.pass_over(self.nodes[leaf])

    def _parents_of(self, parent: str, children: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, node in self.nodes.items():
            before = node.get(parent)
            if isinstance(before, str | int) and str(before) in self.nodes:
                found[name] = str(before)
            elif before and isinstance(before, str | int):
                self._conversation.note(GAP)
        if found:
            return found
        return self._by_children(children) or self._in_order()

    def _by_children(self, children: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, node in self.nodes.items():
            listed = node.get(children)
            for child in listed if isinstance(listed, list) else []:
                if isinstance(child, str) and child in self.nodes:
                    found.setdefault(child, name)
        return found

    def _in_order(self) -> dict[str, str]:
        names = list(self.nodes)
        if len(names) > 1:
            self._conversation.note(ROOTLESS)
        return dict(zip(names[1:], names, strict=False))
