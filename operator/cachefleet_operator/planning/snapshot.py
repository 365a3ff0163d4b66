"""Snapshot: all that one reconcile knows, read once and frozen.

A backend builds it (from Kubernetes or from local processes), `plan` decides by it. Objects are the plain
dicts of the API, keyed by kind and name; nobody changes them. What a server says is a Server with `error` set where it
did not answer. Nothing here reads a clock: times are those that others reported, `now` is an argument of `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.planning.acting import Acting
from cachefleet_operator.planning.failover.facts import NO_EVIDENCE, Evidence, State

FOLLOWS = "slave"  # the wire's word for a server that has its data from another one


@dataclass(frozen=True, slots=True)
class Server:
    """What the server in a pod says of itself. `error` is empty if it answered; then the rest holds.

    A server that did not answer a time or two (`failures`) is still as it was at `seen_at`: one slow answer is no news.
    What decides by these facts looks at that moment.
    """

    pod: str
    error: str = ""
    locked: bool = False  # it answers, and takes none of the passwords that it may have
    run_id: str = ""  # new with each start of the process
    role: str = ""  # as INFO says it; who should be what is decided by topology.py
    version: str = ""  # Cachefleet's
    loading: bool = False
    load_percent: float = 0.0
    used_memory: int = 0  # bytes
    maxmemory: int = 0  # bytes
    last_save: int = 0  # unix seconds
    failing: str = ""  # why it refuses writes (disk), in the server's words; empty = it does not
    parameters: Mapping[str, str] = field(default_factory=dict)  # CONFIG GET *
    password_is_current: bool = True  # it accepted the wanted password, not only the one it had before
    seen_at: float = 0.0  # unix seconds of its last answer; 0 = there was none
    failures: int = 0  # questions in a row that it has not answered since
    refuses: bool = False  # nothing listens at its address: the process is not there, or not yet
    managed: State | None = None  # what it says where it is told its role; None = it is not, or knows no such thing


@dataclass(frozen=True, slots=True)
class Snapshot:
    cache: Cache
    acting: Acting  # it, with the spec that acts
    site: Site
    objects: Mapping[Key, Object]  # those with our label, and those that the spec names (auth.secretRef)
    servers: Mapping[str, Server]  # by pod; a pod without an address has no entry
    foreign: frozenset[Key] = frozenset()  # of refusals.taken: where somebody else's object still is
    unmade: Mapping[str, str] = field(default_factory=dict)  # pod that cannot be made -> its controller's words
    evidence: Evidence = NO_EVIDENCE  # what managed servers answered when they were told something

    def get(self, kind: str, name: str) -> Object | None:
        return self.objects.get(Key(kind, name))

    def pods(self) -> list[Object]:
        """Our pods by ordinal."""
        found = [o for key, o in self.objects.items() if key.kind == "Pod"]
        return sorted(found, key=lambda pod: names.ordinal(pod["metadata"]["name"]))
