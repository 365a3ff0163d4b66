"""Durations: how they are counted in histograms, calls with them, and how LATENCY hears of what took too long.

Work that may hold up the loop is bracketed by `latency_start` and `latency_end`. While latency-monitor-threshold is 0
the clock is not even read.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport DURATION_BUCKETS, client_t, command_t, engine_t
from cachefleet_server.ds.intrin cimport cf_clz64, cf_likely, cf_monotonic_us, cf_unlikely

cdef inline uint64_t duration_ns(const engine_t* e, uint64_t cycles) noexcept nogil:
    return (cycles * e.ns_multiplier) >> 20

cdef inline int duration_bucket(uint64_t ns) noexcept nogil:
    """Bucket i holds durations below 2^i units of 1.024 us; the last one also what is longer."""
    cdef uint64_t units = ns >> 10
    return min(64 - cf_clz64(units), DURATION_BUCKETS - 1) if units else 0

cdef inline void count_call(client_t* c, command_t* cmd, uint64_t ns, bint failed) noexcept nogil:
    """A command has ended. One that waited is counted then, with no time: that was counted where it began."""
    cdef engine_t* e = c.engine
    cmd.stats.calls += 1
    if cf_unlikely(failed):
        cmd.stats.failed += 1
    if cf_likely(e.params.latency_tracking):
        cmd.stats.histogram[duration_bucket(ns)] += 1
    e.stats.commands += 1
    c.commands += 1
    c.last_cmd = cmd

cdef inline int64_t latency_start(const engine_t* e) noexcept nogil:
    return 0 if cf_likely(e.params.latency_monitor_threshold == 0) else cf_monotonic_us()

cdef inline void latency_end(engine_t* e, const char* event, int64_t start_us) noexcept nogil:
    cdef int64_t took_ms
    if cf_likely(start_us == 0):
        return
    took_ms = (cf_monotonic_us() - start_us) // 1000
    if took_ms >= e.params.latency_monitor_threshold and e.latency_fn != NULL:
        e.latency_fn(e, event, took_ms)
