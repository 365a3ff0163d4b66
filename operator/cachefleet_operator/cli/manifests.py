"""Manifests: files, folders and standard input into Caches and Secrets, with the place where each was written.

Several documents a file, `kind: List`, JSON (which is YAML). A folder gives its *.yaml, *.yml and *.json files by
name, not those of folders inside it, as `kubectl apply -f` does. Everything wrong is a Failure that begins with file
and line. YAML's own traps are closed: a key that is there twice, and a small file that unfolds into a huge one.
Objects of other kinds, which a folder for a cluster may well hold, are skipped, and said to be.
"""

from __future__ import annotations

import math
import sys
from base64 import b64decode
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cachefleet_operator.api.v1alpha1 import API_VERSION, GROUP, KIND
from cachefleet_operator.cli.failure import Exit, Failure

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
BYTES_MAX = 4 << 20  # of one file
VALUES_MAX = 100_000  # of one document, aliases unfolded
DEPTH_MAX = 64
DIGITS_MAX = 100


@dataclass(frozen=True, slots=True)
class Document:
    place: str  # "cache.yaml:12"
    body: dict[str, Any]


@dataclass(slots=True)
class Manifests:
    caches: list[Document] = field(default_factory=list)
    secrets: list[Document] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # a sentence for each object of another kind


def load(sources: Sequence[str], standard_input: str = "") -> Manifests:
    """Everything that `sources` (paths, or "-") ask for. Raises Failure."""
    found = Manifests()
    for source in sources:
        for name, text in _texts(source, standard_input):
            for document in _documents(name, text):
                _sort(document, found)
    if not found.caches:
        raise Failure(Exit.MANIFEST, "\n".join([f"{', '.join(sources)}: no {KIND} in it", *found.skipped]))
    _refuse_twins([*found.caches, *found.secrets])
    return found


def read_standard_input(sources: Iterable[str]) -> str:
    """All of it, if a source asks for it."""
    return _decode(STDIN, sys.stdin.buffer.read(BYTES_MAX + 1)) if STDIN in sources else ""


def files(sources: Iterable[str]) -> list[Path]:
    """The files that the sources mean now; a source that is not there means none. Raises OSError."""
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if source != STDIN and path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
        elif source != STDIN and path.exists():
            found.append(path)
    return found


# -- reading


def _texts(source: str, standard_input: str) -> Iterator[tuple[str, str]]:
    if source == STDIN:
        yield "standard input", standard_input
        return
    try:
        found = files([source])
    except OSError as error:
        raise Failure(Exit.MANIFEST, f"{source}: {error.strerror}") from None
    if not found:
        what = f"no {', '.join('*' + s for s in SUFFIXES)} in it" if Path(source).is_dir() else "No such file or folder"
        raise Failure(Exit.MANIFEST, f"{source}: {what}")
    for path in found:
        try:
            with open(path, "rb") as file:
                yield str(path), _decode(str(path), file.read(BYTES_MAX + 1))
        except OSError as error:
            raise Failure(Exit.MANIFEST, f"{path}: {error.strerror}") from None


def _decode(name: str, content: bytes) -> str:
    if len(content) > BYTES_MAX:
        raise Failure(Exit.MANIFEST, f"{name}: is larger than {BYTES_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Failure(Exit.MANIFEST, f"{name}:{line}: is not UTF-8 text") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice (YAML itself lets the last one win) and numbers that JSON does not have,
    and leaves dates the strings that they are in JSON."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                words = f"the key {key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, words, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, AttributeError):  # PyYAML's own, where a tag is written out
            words = f"{node.value!r} is not what {node.tag.rpartition(':')[2]} means"
            raise yaml.constructor.ConstructorError(None, None, words, node.start_mark) from None

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        if len(node.value) > DIGITS_MAX:
            words = f"a number of {len(node.value)} digits"
            raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)
        whole = node.tag == "tag:yaml.org,2002:int"
        found: int | float = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        if not math.isfinite(found):
            words = f"{node.value!r} is no number that JSON has"
            raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)
        return found


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def _documents(name: str, text: str) -> Iterator[Document]:
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            place = f"{name}:{node.start_mark.line + 1}"
            body = loader.construct_document(node)
            if body is not None:
                _bounded(place, body)
                yield from _unpacked(place, body)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise Failure(Exit.MANIFEST, f"{name}{where}: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Failure(Exit.MANIFEST, f"{name}:{line}: a character that YAML does not allow") from None
    except RecursionError:
        raise Failure(Exit.MANIFEST, f"{name}: is nested too deeply") from None


def _bounded(place: str, body: Any) -> None:
    left = VALUES_MAX
    stack = [(body, 0)]
    while stack:
        value, depth = stack.pop()
        left -= 1
        if left < 0 or depth > DEPTH_MAX:
            raise Failure(Exit.MANIFEST, f"{place}: unfolds into too much (more than {VALUES_MAX} values, or too deep)")
        if isinstance(value, dict):
            stack += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            stack += [(inner, depth + 1) for inner in value]
        elif not isinstance(value, str | int | float | None):
            raise Failure(Exit.MANIFEST, f"{place}: a {type(value).__name__} is nothing that JSON has")
        elif isinstance(value, str) and not value.isascii() and value != value.encode("utf-8", "replace").decode():
            raise Failure(Exit.MANIFEST, f"{place}: a string is not Unicode")


def _unpacked(place: str, body: Any) -> Iterator[Document]:
    if not isinstance(body, dict):
        raise Failure(Exit.MANIFEST, f"{place}: is not an object with apiVersion, kind and metadata")
    if body.get("kind") == "List" and isinstance(body.get("items"), list):
        for index, item in enumerate(body["items"]):
            yield from _unpacked(f"{place} item {index}", item)
    else:
        yield Document(place, body)


# -- kinds


def _sort(document: Document, into: Manifests) -> None:
    kind, version = document.body.get("kind"), document.body.get("apiVersion")
    if (kind, version) == (KIND, API_VERSION):
        into.caches.append(document)
    elif (kind, version) == ("Secret", "v1"):
        _check_secret(document)
        into.secrets.append(document)
    elif kind == KIND:
        raise Failure(Exit.MANIFEST, f"{document.place}: apiVersion of a {KIND} is {API_VERSION}, not {version}")
    elif not isinstance(kind, str) or not isinstance(version, str) or version.startswith(f"{GROUP}/"):
        raise Failure(
            Exit.MANIFEST, f"{document.place}: kind {kind} (apiVersion {version}) is unknown here; {KIND} and Secret "
            "are what runs without Kubernetes"
        )  # fmt: skip
    else:
        metadata = document.body.get("metadata")
        name = f" {metadata['name']}" if isinstance(metadata, dict) and metadata.get("name") else ""
        into.skipped.append(f"{document.place}: {kind}{name} is skipped: it means nothing without Kubernetes")


def _check_secret(document: Document) -> None:
    body = document.body
    metadata, data, text = body.get("metadata"), body.get("data") or {}, body.get("stringData") or {}
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise Failure(Exit.MANIFEST, f"{document.place}: the Secret has no metadata.name")
    for field_name, content in (("data", data), ("stringData", text)):
        if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
            raise Failure(Exit.MANIFEST, f"{document.place}: Secret {metadata['name']}: {field_name} must be strings")
    for key, encoded in data.items():
        try:
            b64decode(encoded.replace("\n", "").replace("\r", ""), validate=True)
        except ValueError:
            words = f"Secret {metadata['name']}: data.{key} is not base64 (plain text belongs into stringData)"
            raise Failure(Exit.MANIFEST, f"{document.place}: {words}") from None


def _refuse_twins(documents: Iterable[Document]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for document in documents:
        metadata = document.body.get("metadata")
        if not isinstance(metadata, dict):
            continue  # admission says what is wrong
        name = (document.body["kind"], str(metadata.get("namespace") or "default"), str(metadata.get("name")))
        if name in seen:
            words = f"{name[0]} {name[2]} is also in {seen[name]}"
            raise Failure(Exit.MANIFEST, f"{document.place}: {words}")
        seen[name] = document.place
