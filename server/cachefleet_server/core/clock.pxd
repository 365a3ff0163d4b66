"""Cached time. `clock_refresh` reads the clocks once a tick; commands use the cached values.

Inside one command time stands still, so a transaction or a pipeline batch sees one `now`.
"""

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.ds.intrin cimport cf_monotonic_us, cf_realtime_us

cdef inline void clock_refresh(engine_t* e) noexcept nogil:
    e.now_us = cf_realtime_us()
    e.now_ms = e.now_us // 1000
    e.monotonic_ms = cf_monotonic_us() // 1000
    e.lru_clock = <unsigned int>(e.now_ms // 1000) & 0xFFFFFF
