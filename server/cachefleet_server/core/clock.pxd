"""Cached time. `clock_refresh` reads the clocks once a tick; commands use the cached values.

Inside one command time stands still, so a transaction or a pipeline batch sees one `now`. Leases alone are looked at by
the clock itself, `clock_boottime_us`, which runs on while the machine is suspended.
"""

from libc.stdint cimport int64_t, uint64_t
from posix.time cimport clock_gettime, timespec
from posix.unistd cimport usleep

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.ds.intrin cimport cf_monotonic_us, cf_realtime_us

cdef extern from "<time.h>" nogil:
    enum: CLOCK_BOOTTIME

cdef inline int64_t clock_boottime_us() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_BOOTTIME, &t)
    return <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000

cdef inline void clock_refresh(engine_t* e) noexcept nogil:
    e.now_us = cf_realtime_us() + e.clock_offset_us
    e.now_ms = e.now_us // 1000
    e.monotonic_ms = cf_monotonic_us() // 1000
    e.lru_clock = <unsigned int>(e.now_ms // 1000) & 0xFFFFFF

cdef inline void load_delay(const engine_t* e, uint64_t nth) noexcept nogil:
    """key-load-delay, by which tests make a load last: us a key; below 0, one us in so many keys."""
    if e.params.key_load_delay > 0:
        usleep(<unsigned int>e.params.key_load_delay)
    elif nth % <uint64_t>-e.params.key_load_delay == 0:
        usleep(1)
