"""The objects of Caches that run on this machine, kept as an API server keeps them.

An object is a plain dict, looked up by namespace, kind and name; it belongs to the Cache that its label names. `apply`
replaces the whole of it but for what a server owns: uid, creationTimestamp, status, and the generation, which grows
when anything but metadata and status changes. A write that changes nothing is none. Every other one gives the object
the next resourceVersion and calls the watchers, synchronously.

    <data>/<namespace>/<cache>/objects/<Kind>.<name>.json      0600: Secrets are among them

Objects of a Cache are written through to its folder, so that the next `up` finds passwords, what was refused, and the
spec that the new one is compared with. Pods are not, nor are StatefulSets: one that is made anew starts its pods when
the rest is as wanted, not as it was last time. Objects that no Cache owns (Secrets from the user's files) live in
memory. A read object is never changed by anybody.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.v1alpha1 import KIND, Cache, CacheKey
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.paths import below, private_folder, replace_file
from cachefleet_operator.planning.moments import stamp

TRANSIENT = ("Pod", "StatefulSet")  # not on disk
OBJECTS = "objects"  # the folder of a Cache that holds them

Clock = Callable[[], float]


class Where(NamedTuple):
    namespace: str
    key: Key


class Store:
    """All objects of one data folder. `clock` gives unix seconds."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self.data = data.absolute()  # paths in it are shown to people and read by processes that run elsewhere
        self._clock = clock
        self._objects: dict[Where, dict[str, Any]] = {}
        self._version = 0
        self._watchers: list[Callable[[Where, Object | None], None]] = []

    def watch(self, watcher: Callable[[Where, Object | None], None]) -> None:
        """Has `watcher` called after every change, with the object, or None where it was deleted."""
        self._watchers.append(watcher)

    # -- reading

    def get(self, namespace: str, kind: str, name: str) -> Object | None:
        return self._objects.get(Where(namespace, Key(kind, name)))

    def owned(self, namespace: str, cache: str) -> dict[Key, Object]:
        """The objects with the Cache's label."""
        return {
            where.key: found
            for where, found in self._objects.items()
            if where.namespace == namespace and owner(found) == cache and where.key.kind != KIND
        }

    def of_kind(self, kind: str) -> list[Object]:
        return [found for where, found in self._objects.items() if where.key.kind == kind]

    def cache(self, namespace: str, name: str) -> Cache | None:
        found = self.get(namespace, KIND, name)
        return parse(found) if found is not None else None

    def folder(self, namespace: str, cache: str) -> Path:
        """Everything of one Cache."""
        return below(self.data, namespace, cache)

    # -- writing

    def apply(self, namespace: str, wanted: Object) -> Object:
        """Creates or replaces an object, but for what the server owns."""
        old = self._objects.get(Where(namespace, key_of(wanted)))
        new = {name: part for name, part in wanted.items() if name not in ("status", "stringData")}
        if wanted["kind"] == "Secret":
            plain = wanted.get("stringData") or {}
            encoded = {key: b64encode(text.encode()).decode() for key, text in plain.items()}
            new["data"] = {**(wanted.get("data") or {}), **encoded}
        if old is not None and "status" in old:
            new["status"] = old["status"]
        return self._put(namespace, old, new)

    def change(self, namespace: str, kind: str, name: str, parts: dict[str, Any]) -> Object | None:
        """Replaces top-level parts of an object that exists ("status", "spec" ...); None when it does not."""
        old = self._objects.get(Where(namespace, Key(kind, name)))
        return self._put(namespace, old, {**old, **parts}) if old is not None else None

    def delete(self, namespace: str, key: Key) -> None:
        where = Where(namespace, key)
        old = self._objects.pop(where, None)
        if old is None:
            return
        path = self._path(where, old)
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        self._tell(where, None)

    def _put(self, namespace: str, old: dict[str, Any] | None, new: dict[str, Any]) -> Object:
        given = new["metadata"]
        kept: Object = old["metadata"] if old is not None else {
            "uid": _uid(namespace, new), "creationTimestamp": stamp(self._clock()), "generation": 1,
            "resourceVersion": "0",
        }  # fmt: skip
        generation = kept["generation"] + (1 if old is not None and _essence(old) != _essence(new) else 0)
        metadata = {
            **given, "namespace": namespace, "uid": kept["uid"], "creationTimestamp": kept["creationTimestamp"],
            "generation": generation, "resourceVersion": kept["resourceVersion"],
        }  # fmt: skip
        new = {**new, "metadata": metadata}
        if new == old:
            return old
        metadata["resourceVersion"] = str(self._version + 1)
        where = Where(namespace, key_of(new))
        self._write(where, new)
        self._version += 1
        self._objects[where] = new
        self._tell(where, new)
        return new

    def _tell(self, where: Where, found: Object | None) -> None:
        for watcher in self._watchers:
            watcher(where, found)

    # -- the folder

    def load(self, namespace: str, cache: str) -> None:
        """Takes up what the folder of a Cache holds from an earlier run, unless the Cache is known already."""
        if self.get(namespace, KIND, cache) is not None:
            return
        for path in sorted((self.folder(namespace, cache) / OBJECTS).glob("*.json")):
            found = _read(path)
            where = Where(namespace, key_of(found))
            if self._path(where, found) != path:
                raise _damaged(path, f"it holds {where.key}")
            self._objects[where] = found
            self._version = max(self._version, int(found["metadata"]["resourceVersion"]))

    def forget(self, namespace: str, cache: str) -> None:
        """Drops a Cache and its objects from memory, but for the pods, which are the kubelet's; its folder stays."""
        for key in [Key(KIND, cache), *self.owned(namespace, cache)]:
            where = Where(namespace, key)
            if key.kind != "Pod" and self._objects.pop(where, None) is not None:
                self._tell(where, None)

    def _path(self, where: Where, found: Object) -> Path | None:
        cache = where.key.name if where.key.kind == KIND else owner(found)
        if not cache or where.key.kind in TRANSIENT:
            return None
        return below(self.folder(where.namespace, cache), OBJECTS, f"{where.key.kind}.{where.key.name}.json")

    def _write(self, where: Where, found: Object) -> None:
        path = self._path(where, found)
        if path is None:
            return
        try:
            private_folder(path.parent)
            replace_file(path, json.dumps(found, indent=1).encode())
        except OSError as error:
            raise ExecutionError(f"cannot write {path}: {error.strerror}") from error


def caches_in(data: Path) -> Iterator[CacheKey]:
    """The Caches that a data folder holds; other folders in it are not ours."""
    for path in sorted(data.glob(f"*/*/{OBJECTS}/{KIND}.*.json")):
        namespace, name = path.parts[-4], path.parts[-3]
        if path.name == f"{KIND}.{name}.json":
            yield CacheKey(namespace, name)


def owner(found: Object) -> str:
    """Name of the Cache that an object belongs to, "" for none."""
    return str(found["metadata"].get("labels", {}).get(names.LABEL_CACHE, ""))


def _uid(namespace: str, found: Object) -> str:
    """A Cache has always the same: its objects are its own, too, if its file was lost."""
    where = f"{namespace}/{found['metadata']['name']}"
    return str(uuid.uuid5(uuid.NAMESPACE_OID, where) if found["kind"] == KIND else uuid.uuid4())


def _essence(found: Object) -> Object:
    return {name: part for name, part in found.items() if name not in ("metadata", "status")}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        int(found["metadata"]["resourceVersion"]), found["metadata"]["generation"] + 0, owner(found)
        if key_of(found).kind == KIND:
            parse(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    assert isinstance(found, dict)
    return found


def _damaged(path: Path, words: str) -> ExecutionError:
    return ExecutionError(f"{path} is damaged ({words}); remove it, and `up` makes it anew")
