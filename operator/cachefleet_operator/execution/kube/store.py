"""What the cluster has of ours, in memory: filled by watch events and by the answers to our own writes.

    objects    (namespace, Cache) -> {kind/name: object}, by the label that each carries
    caches     (namespace, name) -> Cache

The newest version of an object wins, whatever the order in which its versions arrive, and what was deleted stays so: a
late answer to a write does not bring it back (the last TOMBSTONES_MAX uids, and the version at which each went). An
object that lost its label is reported as deleted, too, and comes back with a newer version. resourceVersions are
compared as numbers, as the API has promised since 1.35 and always done.

Watches may miss deletions (after a relisting they report only what is there). So a listing of everything can be held
against the store (`compare`): it shows what the watches have not told yet, which is how we know at the start that they
have told all, and what is here and gone there, which is dropped. execution/kube/audit.py does so.

managedFields are dropped: nobody here reads them, and they are half of an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import KIND, CacheKey

TOMBSTONES_MAX = 8192

Listener = Callable[[CacheKey], None]


class Store:
    def __init__(self) -> None:
        self._caches: dict[CacheKey, Object] = {}
        self._objects: dict[CacheKey, dict[Key, Object]] = {}
        self._homes: dict[str, CacheKey] = {}  # uid -> where it is filed
        self._dead: dict[str, int] = {}  # uid -> version at which it went; oldest first
        self._listeners: list[Listener] = []

    # -- reading

    def listen(self, listener: Listener) -> None:
        """Has `listener` called with the Cache whose objects changed, after each change."""
        self._listeners.append(listener)

    def cache(self, key: CacheKey) -> Object | None:
        return self._caches.get(key)

    def caches(self) -> Mapping[CacheKey, Object]:
        return self._caches

    def objects(self, key: CacheKey) -> dict[Key, Object]:
        """A copy of the index; the objects in it belong to nobody."""
        return dict(self._objects.get(key, {}))

    def get(self, key: CacheKey, kind: str, name: str) -> Object | None:
        return self._objects.get(key, {}).get(Key(kind, name))

    # -- writing

    def see(self, event_type: str | None, obj: Object) -> None:
        """One event of a watch; type None is an entry of its first listing."""
        if event_type == "DELETED":
            self.remove(obj)
        else:
            self.put(obj)

    def put(self, obj: Object) -> None:
        """An object as somebody saw it; ignored if we know a newer version, or that it is gone."""
        key = owner_key(obj)
        if key is None or version(obj) <= self._dead.get(uid(obj), -1):
            return
        place, at = self._place(key, obj)
        old = place.get(at)
        if old is not None and version(old) >= version(obj):
            return
        before = self._homes.get(uid(obj), key)
        if before != key:
            self._forget(before, obj)  # Somebody gave it another Cache's label.
            self._tell(before)
        if old is not None:
            del self._homes[uid(old)]  # Another object of that name, whose end we have not heard of.
        self._homes[uid(obj)] = key
        place[at] = _lean(obj)
        self._tell(key)

    def remove(self, obj: Object) -> None:
        """It is gone since this version. A newer version, or another object of its name, stays."""
        self._bury(uid(obj), version(obj))
        key = self._homes.get(uid(obj))
        if key is None:
            return
        place, at = self._place(key, obj)
        if version(place[at]) <= version(obj):
            self._forget(key, obj)
            self._tell(key)

    def drop(self, kind: str) -> None:
        """All objects of a kind are gone."""
        for obj in self._all(kind):
            self.remove(obj)

    def compare(
        self, kind: str, namespace: str | None, listed: Iterable[Object], as_of: str
    ) -> tuple[list[Object], list[Object]]:
        """What is here and not in a listing (of one namespace or all) made at version `as_of`; what is there in a newer
        version than here."""
        there = {uid(obj): obj for obj in listed}
        here = {uid(obj): obj for obj in self._all(kind) if namespace in (None, obj["metadata"]["namespace"])}
        ghosts = [obj for id_, obj in here.items() if id_ not in there and version(obj) <= _number(as_of)]
        unseen = [
            obj for id_, obj in there.items()
            if version(obj) > max(version(here[id_]) if id_ in here else -1, self._dead.get(id_, -1))
        ]  # fmt: skip
        return ghosts, unseen

    def check(self) -> None:
        """Each object has one home, and is there."""
        placed = {uid(obj): key for key, place in self._objects.items() for obj in place.values()}
        placed |= {uid(obj): key for key, obj in self._caches.items()}
        assert placed == self._homes
        assert all(self._objects.values())
        assert len(self._dead) <= TOMBSTONES_MAX

    # -- how

    def _place(self, key: CacheKey, obj: Object) -> tuple[dict[Any, Object], Any]:
        if obj["kind"] == KIND:
            return self._caches, key
        return self._objects.setdefault(key, {}), key_of(obj)

    def _all(self, kind: str) -> list[Object]:
        if kind == KIND:
            return list(self._caches.values())
        return [obj for place in self._objects.values() for at, obj in place.items() if at.kind == kind]

    def _forget(self, key: CacheKey, obj: Object) -> None:
        place, at = self._place(key, obj)
        del place[at], self._homes[uid(obj)]
        if not self._objects.get(key, True):
            del self._objects[key]

    def _bury(self, id_: str, when: int) -> None:
        self._dead[id_] = when
        if len(self._dead) > TOMBSTONES_MAX:
            del self._dead[next(iter(self._dead))]

    def _tell(self, key: CacheKey) -> None:
        for listener in self._listeners:
            listener(key)


def owner_key(obj: Object) -> CacheKey | None:
    """The Cache that an object belongs to by its label; itself, for a Cache."""
    metadata = obj["metadata"]
    name = metadata["name"] if obj["kind"] == KIND else metadata.get("labels", {}).get(names.LABEL_CACHE)
    return CacheKey(metadata["namespace"], name) if name else None


def uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def version(obj: Object) -> int:
    return _number(obj["metadata"].get("resourceVersion", ""))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _lean(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}
