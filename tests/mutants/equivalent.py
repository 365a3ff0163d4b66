"""Mutants that no test can notice, each with the reason: (file below server/ or operator/, the changed line)."""

from typing import Final

EQUIVALENT: Final[dict[tuple[str, str], str]] = {
    ("cachefleet_server/ds/hashtable.pyx", "if not t.rehash_index * sizeof(ht_bucket_t) & (ARRAY_DROP - 2):"):
        "the product is a multiple of 64",
    ("cachefleet_server/ds/slab.pyx", "if a.list != list and (a.free != 0) != (list == ARENA_OPEN):"):
        "part of a check: only a broken slab could tell",
    ("cachefleet_operator/planning/snapshot.py",
     'return sorted(found, key=lambda pod: int(pod["metadata"]["name"].rsplit("-", 2)[-1]))'):
        "the last part is the same",
    ("cachefleet_operator/planning/status.py",
     'pods: Iterable[PodStatus] = (p.model_copy(update={"used_memory": 1, "last_save": ""}) for p in status.pods)'):
        "any constant does: both sides get it",
    ("cachefleet_operator/planning/status.py",
     "moved = any(_moved(a, b, allowed) for a, b in zip(old.pods, new.pods, strict=False))"):
        "the pods were compared before: there are equally many",
}  # fmt: skip
