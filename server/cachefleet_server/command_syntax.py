"""The syntax text of a command row as the argument tree of COMMAND DOCS; the grammar is in command_spec.py.

A recursive descent over blanks, brackets and names. The result is plain dicts in the order in which Valkey lists
their fields.
"""

from __future__ import annotations

import re
from typing import Any

_SCAN = re.compile(r"\s*(\.\.\.|[\[\](){}|]|[^\s\[\](){}|.@]+(?:\.(?!\.\.)[^\s\[\](){}|.@]+)*|@-?[0-9.]*[0-9])")
_TOKEN = re.compile(r"[A-Z][A-Z0-9_-]*|[=~*$]+")
_SHOWN = re.compile("<(.*)>")
ELEMENTS = frozenset(("field", "member"))
_TYPES = frozenset(("key", "string", "integer", "double", "pattern", "unix-time"))

Node = dict[str, Any]


class _Parser:
    def __init__(self, text: str) -> None:
        self.words = _SCAN.findall(text)
        self.at = 0
        self.keys = 0

    def peek(self, ahead: int = 0) -> str:
        return self.words[self.at + ahead] if self.at + ahead < len(self.words) else ""

    def take(self) -> str:
        self.at += 1
        return str(self.words[self.at - 1])

    def expect(self, word: str) -> None:
        if self.take() != word:
            raise ValueError(f"syntax text: {word!r} expected before {' '.join(self.words[self.at - 1 :])!r}")

    def items(self, end: str) -> list[Node]:
        found = []
        while self.peek() not in (end, "|", ""):
            found.append(self.item())
        return found

    def item(self) -> Node:
        if self.peek() != "[":
            return self.repeated(self.primary())
        self.take()
        node = self.repeated(self.primary())
        self.expect("]")
        node["flags"] = ["optional", *node.get("flags", [])]
        if self.peek() == "...":
            self.take()
            node["flags"] = ["optional", "multiple", *(["multiple_token"] if "token" in node else [])]
        return node

    def repeated(self, node: Node) -> Node:
        if self.peek() == "...":
            self.take()
            node["flags"] = ["multiple"]
        while self.peek().startswith("@"):
            version = self.take()[1:]
            node["deprecated_since" if version.startswith("-") else "since"] = version.removeprefix("-")
        return node

    def primary(self) -> Node:
        word = self.take()
        if _TOKEN.fullmatch(word):
            if self.peek() and self.peek() not in ("]", ")", "}", "|", "...", "[") and not self.peek().startswith("@") \
                    and not _TOKEN.fullmatch(self.peek()):
                return {**self.primary(), "token": word}
            return {"name": word.lower(), "type": "pure-token", "token": word}
        if "=" in word:
            name, _, token = word.partition("=")
            return {"name": name, "type": "pure-token", "token": token}
        word, numbered, spec = word.partition("#")
        shown = _SHOWN.search(word)
        name, _, kind = _SHOWN.sub("", word).partition(":")
        if self.peek() == "(" and not kind:
            return self.choice(name)
        if self.peek() == "{" and not kind:
            self.take()
            node = {"name": name, "type": "block", "arguments": self.items("}")}
            self.expect("}")
            return node
        if kind not in _TYPES:
            raise ValueError(f"syntax text: {word!r} has no known type")
        leaf: Node = {"name": name, "type": kind, "shown": shown[1] if shown else name}
        if kind == "key":
            leaf["key_rank"] = self.keys
            self.keys += 1
        if numbered:
            leaf["key_rank"] = int(spec or 0)
        return leaf

    def choice(self, name: str) -> Node:
        self.expect("(")
        options = []
        while True:
            options.append(self.item())
            if self.take() != "|":
                break
        return {"name": name, "type": "oneof", "arguments": options}


def _shown(node: Node, specs: int) -> Node:
    """The node as COMMAND DOCS prints it."""
    shown: Node = {"name": node["name"], "type": node["type"]}
    if node["type"] not in ("oneof", "block"):
        shown["display_text"] = node.get("shown", node["name"])
    if "key_rank" in node and specs:
        shown["key_spec_index"] = min(node["key_rank"], specs - 1)
    for field in ("token", "since", "deprecated_since"):
        if field in node:
            shown[field] = node[field]
    if "flags" in node:
        shown["flags"] = [*node["flags"]]
    if "arguments" in node:
        shown["arguments"] = [_shown(child, specs) for child in node["arguments"]]
    return shown


def _fixed(node: Node) -> int:
    """How many arguments a node is; 0 if that may differ."""
    if not {"optional", "multiple"}.isdisjoint(node.get("flags", ())):
        return 0
    if node["type"] == "oneof":
        sizes = {_fixed(child) for child in node["arguments"]}
        inner = sizes.pop() if len(sizes) == 1 else 0
    elif node["type"] == "block":
        found = [_fixed(child) for child in node["arguments"]]
        inner = sum(found) if all(found) else 0
    else:
        return 1 + ("token" in node and node["type"] != "pure-token")
    return inner + ("token" in node) if inner else 0


def _place(node: Node) -> tuple[int, int] | None:
    """Where the name of an element is in a node, and in how many arguments; None: it has none."""
    parts = node["arguments"] if node["type"] == "block" else [node]
    names = [part["name"] for part in parts]
    found = [i for i, name in enumerate(names) if name in ELEMENTS]
    if len(found) != 1 or "optional" in node.get("flags", ()):
        return None
    if (node["type"] == "block" and not all(map(_fixed, parts))) or any("token" in part for part in parts):
        return None
    return found[0], len(parts)


def element_range(syntax: str) -> tuple[int, int, int]:
    """(first, last, step) of the arguments that name elements of a value, fields or members, from the last one down to
    `first`; `last` is negative where it counts from the end. Zeros: there are none, or they may be anywhere."""
    nodes = _Parser(syntax).items("")
    for i, node in enumerate(nodes):
        place = _place(node)
        if place is None:
            continue
        before, behind = [_fixed(other) for other in nodes[:i]], [_fixed(other) for other in nodes[i + 1 :]]
        at, size = place
        first = 1 + sum(before) + at
        if all(behind):
            return first, at - size - sum(behind), size
        return (first, first, size) if all(before) and "multiple" not in node.get("flags", ()) else (0, 0, 0)
    return 0, 0, 0


def arguments(syntax: str, specs: int) -> list[Node]:
    """The argument tree; `specs` is the number of the command's key specs. Raises ValueError for a bad text."""
    parser = _Parser(syntax)
    nodes = parser.items("")
    if parser.peek():
        raise ValueError(f"syntax text: unexpected {parser.peek()!r}")
    return [_shown(node, specs) for node in nodes]
