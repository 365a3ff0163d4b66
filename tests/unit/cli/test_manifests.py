"""Manifests: what is taken, and where what is wrong was written."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.cli.manifests import Manifests, files, load
from cachefleet_operator.cli.up import Watch

CACHE = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache"}
SECRET = {"apiVersion": "v1", "kind": "Secret"}
BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def cache(name: str, **metadata: Any) -> dict[str, Any]:
    return {**CACHE, "metadata": {"name": name, **metadata}, "spec": {}}


def secret(**parts: Any) -> str:
    return json.dumps({**SECRET, "metadata": {"name": "mine"}, **parts})


def names(found: Manifests) -> list[tuple[str, str]]:
    return [(document.place, document.body["metadata"]["name"]) for document in found.caches]


def test_documents_of_a_file_have_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"# a comment\n{json.dumps(cache('a'))}\n---\n---\n\n{json.dumps(cache('b'))}\n---\n{secret()}")
    found = load([str(file)])
    assert names(found) == [(f"{file}:2", "a"), (f"{file}:6", "b")]
    assert [document.body["metadata"]["name"] for document in found.secrets] == ["mine"]


def test_lists_as_kubectl_prints_them(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [cache("a"), cache("b")]}))
    assert names(load([str(file)])) == [(f"{file}:1 item 0", "a"), (f"{file}:1 item 1", "b")]


def test_folders_and_standard_input(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json", "README.md"):
        (tmp_path / name).write_text(json.dumps(cache(name[0].lower())))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.yaml").write_text("[")
    found = load([str(tmp_path), "-"], json.dumps(cache("e")))
    assert [name for _, name in names(found)] == ["a", "b", "c", "e"]
    assert names(found)[-1][0] == "standard input:1"
    assert [path.name for path in files([str(tmp_path), "-", "none"])] == ["a.yaml", "b.yml", "c.json"]


def test_objects_of_other_kinds_are_skipped_in_words() -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    found = load(["-"], f"{json.dumps(quota)}\n---\n{json.dumps(cache('a'))}\n---\n{secret()}")
    assert (len(found.caches), len(found.secrets)) == (1, 1)
    assert found.skipped == ["standard input:1: ResourceQuota team is skipped: it means nothing without Kubernetes"]


def test_base64_may_have_several_lines() -> None:
    text = f"{secret(data={'a': 'c2Vz' + chr(10) + 'YW1l' + chr(10)})}\n---\n{json.dumps(cache('a'))}"
    assert len(load(["-"], text).secrets) == 1


def test_one_name_in_two_namespaces() -> None:
    text = f"{json.dumps(cache('a'))}\n---\n{json.dumps(cache('a', namespace='shop'))}"
    assert len(load(["-"], text).caches) == 2


FAULTS: list[tuple[str, str]] = [
    ("", "-: no Cache in it"),
    (secret(), "-: no Cache in it"),
    ("- 1", "standard input:1: is not an object with apiVersion, kind and metadata"),
    ("a: 1\n  b: 2", "standard input:2:4: mapping values are not allowed here"),
    ("a: [1", "standard input:1:6: expected ',' or ']'"),
    ("\ta: 1", "standard input:1:1: found character '\\t' that cannot start any token"),
    ("kind: Cache\nkind: Cache", "standard input:2:1: the key 'kind' is there twice"),
    ("? [a]\n: 1", "standard input:1:3: found unhashable key"),
    ("a: !!python/object:os.system {}", "standard input:1:4: could not determine a constructor"),
    ("a: *b", "standard input:1:4: found undefined alias 'b'"),
    ("\na: \0", "standard input:2: a character that YAML does not allow"),
    ("a: !!int x", "standard input:1:4: 'x' is not what int means"),
    ("a: !!int", "standard input:1:4: '' is not what int means"),
    ("b: 1\na: .nan", "standard input:2:4: '.nan' is no number that JSON has"),
    ("a: [-.inf]", "standard input:1:5: '-.inf' is no number that JSON has"),
    ("a: 1.0e+999", "standard input:1:4: '1.0e+999' is no number that JSON has"),
    (f"a: {'9' * 5000}", "standard input:1:4: a number of 5000 digits"),
    ("a: !!timestamp x", "standard input:1:4: 'x' is not what timestamp means"),
    ("a: !!bool x", "standard input:1:4: 'x' is not what bool means"),
    ("a: !!timestamp 2026-01-31", "standard input:1: a date is nothing that JSON has"),
    ("a: !!binary aa==", "standard input:1: a bytes is nothing that JSON has"),
    ('a: "\\ud800"', "standard input:1: a string is not Unicode"),
    (BOMB, "standard input:1: unfolds into too much"),
    ("a: &a [*a]", "standard input:1: unfolds into too much"),
    ("[" * 5000, "standard input: is nested too deeply"),
    ('{"apiVersion": "apps/v1", "kind": "Deployment"}', "no Cache in it\nstandard input:1: Deployment is skipped"),
    ('{"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cahce"}', "kind Cahce (apiVersion cachefleet.io/v1alpha1) is"),
    ('{"kind": "Pod"}', "kind Pod (apiVersion None) is unknown here"),
    ("apiVersion: v1", "kind None (apiVersion v1) is unknown here"),
    ("kind: Cache\napiVersion: v1", "apiVersion of a Cache is cachefleet.io/v1alpha1, not v1"),
    (f"{json.dumps(cache('a'))}\n---\n{json.dumps(cache('a'))}", ":3: Cache a is also in standard input:1"),
    (json.dumps(SECRET), "the Secret has no metadata.name"),
    (secret(data={"x": "?"}), "Secret mine: data.x is not base64 (plain text belongs into stringData)"),
    (secret(data={"x": "\u00fc"}), "data.x is not base64"),
    (secret(data=[]), "no Cache in it"),
    (secret(data=["x"]), "Secret mine: data must be strings"),
    (secret(stringData={"x": 1}), "Secret mine: stringData must be strings"),
]


@pytest.mark.parametrize(("text", "words"), FAULTS, ids=[words[:50] for _, words in FAULTS])
def test_wrong_manifests_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(Failure) as caught:
        load(["-"], text)
    assert caught.value.code == Exit.MANIFEST
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a: 1\n\xff", "x.yaml:2: is not UTF-8 text"), (b"#" * (4 << 20) + b"##", "is larger than 4194304 bytes")],
    ids=["binary", "huge"],
)
def test_files_that_are_no_manifests(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(Failure, match=words):
        load([str(tmp_path / "x.yaml")])


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while `up` runs: it looks at the folder ten times a second, and what runs runs on."""
    (tmp_path / "x.yaml").write_text(json.dumps(CACHE))
    watch = Watch([str(tmp_path)])

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert [watch.changed() for _ in range(3)] == [False, True, False]
    with pytest.raises(Failure, match=f"{tmp_path}: Permission denied") as caught:
        load([str(tmp_path)])
    assert caught.value.code == Exit.MANIFEST


def test_a_date_is_the_string_that_it_is_in_json() -> None:
    text = f"date: 2026-01-31\nkind: Cache\napiVersion: {CACHE['apiVersion']}\n"
    assert load(["-"], text).caches[0].body["date"] == "2026-01-31"


def test_a_key_may_come_from_an_anchor_and_be_overridden() -> None:
    text = f"base: &base {{a: 1}}\nuse:\n  <<: *base\n  a: 2\nkind: Cache\napiVersion: {CACHE['apiVersion']}\n"
    assert load(["-"], text).caches[0].body["use"] == {"a": 2}
