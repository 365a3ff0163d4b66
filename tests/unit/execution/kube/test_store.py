"""The store: the newest version wins in any order, the dead stay dead, a listing is held against it."""

from __future__ import annotations

import random
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import CacheKey
from cachefleet_operator.execution.kube.store import TOMBSTONES_MAX, Store

KEY = ("shop", "orders")


def obj(
    version: int, *, uid: str = "u1", name: str = "orders-rw", cache: str = "orders", **more: Any
) -> dict[str, Any]:
    labels = {names.LABEL_CACHE: cache} if cache else {}
    metadata = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"kind": "Service", "metadata": {**metadata, **more}}


def cache(version: int, uid: str = "c1") -> dict[str, Any]:
    metadata = {"name": "orders", "namespace": "shop", "uid": uid, "resourceVersion": str(version)}
    return {"kind": "Cache", "metadata": metadata}


def known(store: Store) -> dict[Key, int]:
    store.check()
    return {key: int(found["metadata"]["resourceVersion"]) for key, found in store.objects(KEY).items()}


def test_newest_version_wins_in_any_order() -> None:
    store = Store()
    store.see(None, obj(5))
    store.see("MODIFIED", obj(4))
    assert known(store) == {Key("Service", "orders-rw"): 5}
    store.put(obj(7))
    store.see("MODIFIED", obj(7))
    assert known(store) == {Key("Service", "orders-rw"): 7}


def test_late_answers_do_not_raise_the_dead() -> None:
    store = Store()
    store.put(obj(5))
    store.see("DELETED", obj(8))
    store.put(obj(7))
    assert known(store) == {}


def test_an_object_that_lost_its_label_comes_back_with_a_newer_version() -> None:
    store = Store()
    store.put(obj(5))
    store.see("DELETED", obj(8, cache=""))  # How a watch by label reports it.
    assert known(store) == {}
    store.put(obj(9))
    assert known(store) == {Key("Service", "orders-rw"): 9}
    store.see("DELETED", obj(8))
    assert known(store) == {Key("Service", "orders-rw"): 9}


def test_a_new_object_of_the_same_name_survives_the_end_of_the_old_one() -> None:
    store = Store()
    store.put(obj(5))
    store.put(obj(9, uid="u2"))
    store.see("DELETED", obj(8))
    assert known(store) == {Key("Service", "orders-rw"): 9}


def test_an_object_moves_with_its_label() -> None:
    store, woken = Store(), list[CacheKey]()
    store.put(obj(5))
    store.listen(woken.append)
    store.put(obj(6, cache="carts"))
    assert known(store) == {}
    assert list(store.objects(("shop", "carts"))) == [Key("Service", "orders-rw")]
    assert woken == [("shop", "orders"), ("shop", "carts")]


def test_caches_and_their_objects_wake_the_same_key() -> None:
    store, woken = Store(), list[CacheKey]()
    store.listen(woken.append)
    store.put(cache(3))
    store.put(obj(4))
    store.put(obj(4))  # Nothing new.
    store.see("DELETED", cache(5))
    assert [str(key) for key in woken] == ["shop/orders"] * 3
    assert woken == [KEY, KEY, KEY]
    assert store.cache(KEY) is None
    store.check()


def test_what_carries_no_label_of_ours_is_not_kept() -> None:
    store = Store()
    store.put(obj(5, cache=""))
    assert known(store) == {}


def test_managed_fields_are_dropped() -> None:
    store = Store()
    store.put(obj(5, managedFields=[{"manager": "kubectl"}]))
    assert "managedFields" not in store.objects(KEY)[Key("Service", "orders-rw")]["metadata"]


def test_compare_finds_ghosts_and_what_was_not_told_yet() -> None:
    store = Store()
    store.put(obj(5))
    store.put(obj(6, uid="u2", name="orders-ro"))
    store.put(obj(30, uid="u3", name="orders-new"))
    listed = [obj(5), obj(7, uid="u4", name="orders-pods")]
    ghosts, unseen = store.compare("Service", None, listed, "20")
    assert [g["metadata"]["uid"] for g in ghosts] == ["u2"]  # u3 is newer than the listing.
    assert [u["metadata"]["uid"] for u in unseen] == ["u4"]
    assert store.compare("Service", "elsewhere", [], "99") == ([], [])
    assert store.compare("ConfigMap", None, [], "99") == ([], [])


def test_compare_waits_for_newer_versions_but_not_for_the_dead() -> None:
    store = Store()
    store.put(obj(5))
    assert len(store.compare("Service", None, [obj(6)], "9")[1]) == 1
    store.see("DELETED", obj(7))
    assert store.compare("Service", None, [obj(6)], "9") == ([], [])


def test_a_kind_that_went_with_its_crd_is_dropped() -> None:
    store = Store()
    store.put(obj(5))
    store.put({**obj(6, uid="u2"), "kind": "PodMonitor"})
    store.drop("PodMonitor")
    assert list(known(store)) == [Key("Service", "orders-rw")]


def test_tombstones_are_bounded() -> None:
    store = Store()
    for number in range(TOMBSTONES_MAX + 10):
        store.see("DELETED", obj(1, uid=f"u{number}"))
    store.check()


def test_any_order_of_delivery_ends_at_the_same_place(rng: random.Random) -> None:
    """A history of one name, its events delivered in order and the answers to writes anywhere later."""
    for _ in range(200):
        events, answers, version, serial, live = list[tuple[str, Object]](), list[Object](), 0, 0, None
        for _ in range(rng.randrange(1, 12)):
            version += 1
            if live is None:
                serial, live = serial + 1, f"u{serial + 1}"
                events.append(("ADDED", obj(version, uid=live)))
            elif rng.random() < 0.3:
                events.append(("DELETED", obj(version, uid=live)))
                live = None
            else:
                events.append(("MODIFIED", obj(version, uid=live)))
            if rng.random() < 0.5 and events[-1][0] != "DELETED":
                answers.append(events[-1][1])
        store = Store()
        queue = list(events)
        for answer in answers:
            queue.insert(rng.randrange(len(queue) + 1), ("ANSWER", answer))
        for kind, found in queue:
            store.see(kind, found)
            store.check()
        assert known(store) == ({} if live is None else {Key("Service", "orders-rw"): version})
