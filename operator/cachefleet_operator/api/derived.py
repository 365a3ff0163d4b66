"""What follows from a spec by arithmetic alone."""

from __future__ import annotations

from cachefleet_operator.api.quantity import to_bytes
from cachefleet_operator.api.v1alpha1 import CacheSpec

PROCESS_BYTES = 48 << 20  # of the memory limit, for the process itself
MAXMEMORY_BYTES_MIN = 1 << 20


def maxmemory_bytes(spec: CacheSpec) -> int:
    """The share of the memory limit that data may take. Never 0, which a server reads as unlimited."""
    share = (to_bytes(spec.memory.limit) - PROCESS_BYTES) * spec.memory.maxmemory_percent // 100
    return max(share, MAXMEMORY_BYTES_MIN)
