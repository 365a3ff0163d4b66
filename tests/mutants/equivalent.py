"""Mutants that no test can notice, each with the reason: (file below server/ or operator/, the changed line)."""

from typing import Final

EQUIVALENT: Final[dict[tuple[str, str], str]] = {
    ("cachefleet_server/ds/hashtable.pyx", "if not t.rehash_index * sizeof(ht_bucket_t) & (ARRAY_DROP - 2):"):
        "the product is a multiple of 64",
    ("cachefleet_server/ds/slab.pyx", "if a.list != list and (a.free != 0) != (list == ARENA_OPEN):"):
        "part of a check: only a broken slab could tell",
    ("cachefleet_server/ds/slab.pyx", "if p.slab != s and p.arena != a:"):
        "part of a check: only a broken slab could tell",
    ("cachefleet_server/ds/bits.pyx", "elif count > 1 and lens[0] > at + n and lens[1] >= at + n:"):
        "one pass more over the piece makes the same bytes",
    ("cachefleet_server/keyspace/following.pyx", "cdef char* text = <char*>zmalloc(f.engine.heap, n + 2)"):
        "a byte more than it needs, given back in the same function",
    ("cachefleet_server/keyspace/member_expiry.pyx", "if db.timed[child].at_ms > timed.at_ms:"):
        "of two equal times either may be above the other",
    ("cachefleet_server/persistence/rdb_load.pyx", "if l.idle_s < 1:"):
        "a key that was used just now is as one of whose use nothing is said",
    ("cachefleet_operator/planning/snapshot.py",
     'return sorted(found, key=lambda pod: int(pod["metadata"]["name"].rsplit("-", 2)[-1]))'):
        "the last part is the same",
    ("cachefleet_operator/planning/status.py",
     'pods: Iterable[PodStatus] = (p.model_copy(update={"used_memory": 1, "last_save": ""}) for p in status.pods)'):
        "any constant does: both sides get it",
    ("cachefleet_operator/planning/status.py",
     "moved = any(_moved(a, b, allowed) for a, b in zip(old.pods, new.pods, strict=False))"):
        "the pods were compared before: there are equally many",
    ("cachefleet_operator/resources/diff.py",
     "for index, (ours, other) in enumerate(zip(want, have, strict=False)):"):
        "the lengths were compared before",
}  # fmt: skip
