"""The process's own memory: slabs and tables lie in huge pages, and what is freed goes back to the kernel."""

from __future__ import annotations

import mmap
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.instance import Instance
from fleettest.process import rss_bytes
from fleettest.skips import machine_lacks
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

MB = 1 << 20
KEYS = 300_000
MADV_COLLAPSE = 25


@pytest.fixture
def server() -> Iterator[Instance]:
    with Instance("cachefleet", options={"save": ""}) as server:
        yield server


def huge_bytes(server: Instance) -> int:
    text = Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("AnonHugePages:"))


def fill(server: Instance) -> None:
    with server.connect(timeout_s=60) as client:
        for start in range(0, KEYS, 10_000):
            client.pipeline([("SET", f"key:{i:010d}", "x" * 64) for i in range(start, start + 10_000)])


def kernel_merges() -> bool:
    """Whether the server may have huge pages that it asks for (process.disable_huge_pages)."""
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or (release < (6, 18) and "[always]" in setting.read_text()):
        return False
    with mmap.mmap(-1, 4 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * len(memory)
        try:
            memory.madvise(MADV_COLLAPSE)
        except OSError:
            return False
    return True


def test_full_slabs_become_huge_pages(server: Instance) -> None:
    if not kernel_merges():
        machine_lacks("this kernel does not merge pages on request alone (Linux 6.18 does)")
    assert huge_bytes(server) == 0, "nobody gets huge pages unasked"
    fill(server)
    assert_eventually(lambda: huge_bytes(server) >= 2 * MB)


@pytest.mark.parametrize("how", ["FLUSHALL ASYNC", "FLUSHALL SYNC", "DEL"])
def test_memory_goes_back(server: Instance, how: str) -> None:
    server.call("PING")
    before = rss_bytes(server)
    fill(server)
    full = rss_bytes(server)
    assert full - before > KEYS * 100
    if how == "DEL":
        with server.connect(timeout_s=60) as client:
            for start in range(0, KEYS, 10_000):
                client.call("DEL", *(f"key:{i:010d}" for i in range(start, start + 10_000)))
    else:
        server.call(*how.split())
    assert_eventually(lambda: rss_bytes(server) - before < (full - before) // 4)
