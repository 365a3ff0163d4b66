"""Objects kept as an API server keeps them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.store import Store, Where, caches_in

NS = "shop"


def configmap(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": "orders-config", "labels": names.labels("orders")}}  # fmt: skip


def cache() -> dict[str, Any]:
    return {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": {"name": "orders"}, "spec": {}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, lambda: 1_800_000_000.0)


def test_folders_mean_the_same_to_processes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store(Path("data"), lambda: 0.0).folder(NS, "orders") == tmp_path / "data" / NS / "orders"


def test_a_new_object_gets_what_the_server_owns(store: Store) -> None:
    made = store.apply(NS, configmap(a="1"))
    assert made["metadata"]["namespace"] == NS
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert len(made["metadata"]["uid"]) == 36
    assert store.get(NS, "ConfigMap", "orders-config") == made
    assert store.get("other", "ConfigMap", "orders-config") is None


def test_generation_and_version_follow_what_changed(store: Store) -> None:
    first = store.apply(NS, configmap(a="1"))
    assert store.apply(NS, configmap(a="1")) is first  # nothing was written
    status = store.change(NS, "ConfigMap", "orders-config", {"status": {"ok": True}})
    assert status is not None
    assert status["metadata"]["generation"] == 1
    assert int(status["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    second = store.apply(NS, configmap(a="2"))
    assert second["metadata"]["generation"] == 2
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert second["status"] == {"ok": True}
    metadata = {**second["metadata"], "labels": {**names.labels("orders"), "x": "y"}}
    labelled = store.change(NS, "ConfigMap", "orders-config", {"metadata": metadata})
    assert labelled is not None
    assert labelled["metadata"]["labels"] == {**names.labels("orders"), "x": "y"}
    assert labelled["metadata"]["generation"] == 2


def test_what_is_not_there_is_neither_changed_nor_deleted(store: Store) -> None:
    assert store.change(NS, "Pod", "x", {"status": {}}) is None
    store.delete(NS, Key("Pod", "x"))


def test_watchers_hear_of_changes_only(store: Store) -> None:
    seen: list[tuple[Where, bool]] = []
    store.watch(lambda where, found: seen.append((where, found is not None)))
    key = Key("ConfigMap", "orders-config")
    store.apply(NS, configmap(a="1"))
    store.apply(NS, configmap(a="1"))
    store.delete(NS, key)
    store.delete(NS, key)
    assert seen == [(Where(NS, key), True), (Where(NS, key), False)]


def test_a_cache_owns_what_carries_its_label(store: Store) -> None:
    store.apply(NS, cache())
    store.apply(NS, configmap())
    store.apply(NS, {"kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"password": "p"}})
    assert list(store.owned(NS, "orders")) == [Key("ConfigMap", "orders-config")]
    assert not store.owned("other", "orders")


def test_string_data_of_a_secret_becomes_data(store: Store) -> None:
    made = store.apply(NS, {"kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"password": "p"}})
    assert made["data"] == {"password": "cA=="}
    assert "stringData" not in made
    for empty in ({}, {"data": None}, {"stringData": None, "data": []}):
        assert store.apply(NS, {"kind": "Secret", "metadata": {"name": "mine"}, **empty})["data"] == {}


def test_another_store_finds_what_this_one_kept(store: Store, tmp_path: Path) -> None:
    store.apply(NS, cache())
    store.change(NS, "Cache", "orders", {"status": {"phase": "Running"}})
    kept = store.apply(NS, configmap(a="1"))
    store.apply(NS, {"kind": "Pod", "metadata": {"name": "orders-0", "labels": names.labels("orders")}})
    again = Store(tmp_path, lambda: 0.0)
    assert list(caches_in(tmp_path)) == [(NS, "orders")]
    again.load(NS, "orders")
    assert again.get(NS, "ConfigMap", "orders-config") == kept
    assert again.get(NS, "Pod", "orders-0") is None  # it described a process
    found = again.cache(NS, "orders")
    assert found is not None
    assert found.status.phase == "Running"
    newer = again.apply(NS, configmap(a="2"))
    assert int(newer["metadata"]["resourceVersion"]) > int(kept["metadata"]["resourceVersion"])


def test_deleted_objects_leave_the_folder_and_forgotten_ones_stay(store: Store, tmp_path: Path) -> None:
    store.apply(NS, cache())
    store.apply(NS, configmap(a="1"))
    store.forget(NS, "orders")
    assert store.cache(NS, "orders") is None
    assert not store.owned(NS, "orders")
    store.load(NS, "orders")
    assert len(store.owned(NS, "orders")) == 1
    store.delete(NS, Key("ConfigMap", "orders-config"))
    assert [path.name for path in tmp_path.rglob("*.json")] == ["Cache.orders.json"]


def test_folders_that_look_alike_are_not_caches(tmp_path: Path) -> None:
    for other in ("project/.git/objects/pack", "a/b/objects/Cache.c.json"):
        (tmp_path / other).mkdir(parents=True)
    assert not list(caches_in(tmp_path))


def test_only_the_owner_may_read_the_files(store: Store, tmp_path: Path) -> None:
    store.apply(NS, configmap())
    (file,) = tmp_path.rglob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_write_that_fails_changes_nothing(store: Store, tmp_path: Path) -> None:
    first = store.apply(NS, configmap(a="1"))
    (file,) = tmp_path.rglob("*.json")
    (file.parent / f".{file.name}.new").mkdir()  # where the new file would be written
    with pytest.raises(ExecutionError, match=r"cannot write .*Is a directory"):
        store.apply(NS, configmap(a="2"))
    assert store.get(NS, "ConfigMap", "orders-config") is first


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "ConfigMap"}', "\0"])
def test_a_damaged_file_is_named(store: Store, tmp_path: Path, content: str) -> None:
    store.apply(NS, cache())
    store.apply(NS, configmap(a="1"))
    next(tmp_path.rglob("ConfigMap*")).write_text(content)
    with pytest.raises(ExecutionError, match=r"ConfigMap.orders-config.json is damaged"):
        Store(tmp_path, lambda: 0.0).load(NS, "orders")
