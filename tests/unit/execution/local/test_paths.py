"""Names become paths, or they do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import API_VERSION
from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.cli.state import Folder
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.paths import Outside, below, replace_file
from cachefleet_operator.execution.local.store import OBJECTS, Store
from cachefleet_operator.execution.local.tcp_ports import FILE, PortBook
from fleettest.instance import free_port


@pytest.mark.parametrize("name", ["a", "a/b/c", "a b", "..a", "a..", "...", ".a", "\u00e4", "x" * 300, "./a", "a//b"])
def test_inside(tmp_path: Path, name: str) -> None:
    assert below(tmp_path, name) == tmp_path / name
    assert below(tmp_path, "some", name) == tmp_path / "some" / name


@pytest.mark.parametrize(
    "name",
    ["", ".", "./.", "..", "../x", "a/..", "a/../b", "a/../../b", "/", "/etc", "{root}", "{root}/a", "\0", "\ud800"],
)
def test_outside(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(Outside) as caught:
        below(root, name.format(root=root))
    assert len(str(caught.value)) < 300 + len(str(root))


def test_a_long_name_is_cut_in_the_words(tmp_path: Path) -> None:
    with pytest.raises(Outside) as caught:
        below(tmp_path, "../" * 100_000)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("place", ["a", "a/b", "a/b/c"])
def test_no_link_is_followed_below_the_root(tmp_path: Path, place: str) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    other.mkdir()
    (root / place).parent.mkdir(parents=True)
    for target in (other, other / "none", root, ".", Path(place).name):
        (root / place).symlink_to(target)
        with pytest.raises(Outside):
            below(root, "a/b/c")
        (root / place).unlink()
    assert below(root, "a/b/c") == root / "a/b/c"


def test_a_root_may_be_reached_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--data is the user's own word."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to("disk")
    assert below(tmp_path / "data", "a") == tmp_path / "data" / "a"
    monkeypatch.chdir(tmp_path)
    assert below(Path("data"), "a") == Path("data/a")


def test_a_file_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    letter, place = tmp_path / "letter", tmp_path / "place"
    letter.write_text("dear")
    place.symlink_to(letter)
    replace_file(place, b"new")
    assert (letter.read_text(), place.read_text(), place.is_symlink()) == ("dear", "new", False)
    os.link(letter, tmp_path / "hard")
    replace_file(tmp_path / "hard", b"new")
    assert letter.read_text() == "dear"
    (tmp_path / ".place.new").symlink_to(letter)
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(place, b"newer")
    assert (letter.read_text(), place.read_text()) == ("dear", "new")


# -- who makes paths


def configmap(name: str, cache: str) -> dict[str, object]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "labels": {names.LABEL_CACHE: cache}}}


@pytest.mark.parametrize(
    ("namespace", "cache", "name"),
    [("default", "orders", "../../../x"), ("default", "../x", "x"), ("..", "orders", "x"), ("/tmp", "orders", "x"),
     ("default", "/tmp", "x"), ("default", "orders", "\0"), ("default", ".", "x")],
)  # fmt: skip
def test_objects_stay_in_the_folder_of_their_cache(tmp_path: Path, namespace: str, cache: str, name: str) -> None:
    store = Store(tmp_path / "data", lambda: 0.0)
    with pytest.raises(Outside):
        store.apply(namespace, configmap(name, cache))
    assert not list(tmp_path.iterdir())
    assert store.get(namespace, "ConfigMap", name) is None


@pytest.mark.parametrize("place", ["default", "default/orders", f"default/orders/{OBJECTS}"])
def test_folders_that_are_links_hold_no_objects(tmp_path: Path, place: str) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    other.mkdir(mode=0o755)
    (data / place).parent.mkdir(parents=True)
    (data / place).symlink_to(other)
    with pytest.raises(Outside):
        Store(data, lambda: 0.0).apply("default", configmap("x", "orders"))
    assert not list(other.iterdir()) and other.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "change", [{"name": "y"}, {"name": "../../../letter"}, {"labels": {names.LABEL_CACHE: "other"}}, {"labels": {}}]
)
def test_a_file_holds_what_its_name_says(tmp_path: Path, change: dict[str, object]) -> None:
    """A data folder that somebody else filled: what is loaded is deleted by its name one day."""
    made = Store(tmp_path, lambda: 0.0).apply("default", configmap("x", "orders"))
    path = tmp_path / "default" / "orders" / OBJECTS / "ConfigMap.x.json"
    path.write_text(json.dumps({**made, "metadata": {**made["metadata"], **change}}))
    with pytest.raises(ExecutionError, match=r"leaves its folder|ConfigMap.x.json is damaged \(it holds ConfigMap/"):
        Store(tmp_path, lambda: 0.0).load("default", "orders")


@pytest.mark.parametrize(("namespace", "cache"), [("..", "x"), ("default", "../../x"), ("/tmp", "x"), ("", "")])
def test_ports_are_noted_in_the_folder_of_their_cache(tmp_path: Path, namespace: str, cache: str) -> None:
    data = tmp_path / "a" / "data"
    with pytest.raises(Outside):
        PortBook(data).pin(namespace, cache, "x-0", free_port(), free_port())
    assert not list(tmp_path.rglob(FILE))


def test_what_is_deleted_with_the_data_is_in_their_folder(tmp_path: Path) -> None:
    real = Store(tmp_path / "real", lambda: 0.0)
    real.apply("default", {"apiVersion": API_VERSION, "kind": "Cache", "metadata": {"name": "orders"}, "spec": {}})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default").symlink_to(tmp_path / "real" / "default")
    with pytest.raises(Failure, match="leaves its folder") as caught:
        Folder(tmp_path / "data").delete_data()
    assert caught.value.code == Exit.STORAGE
    assert real.folder("default", "orders").exists()
