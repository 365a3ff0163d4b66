"""Expiry: lazily on access, and actively in bounded slices."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport db_t, engine_t
from cachefleet_server.core.entry cimport E_EXPIRE, entry_expire, entry_t

cdef enum:
    EXPIRE_SLICE_US = 1000  # at most; what a client may have to wait because of expiry

cdef inline bint entry_is_expired(const engine_t* e, const entry_t* entry) noexcept nogil:
    """The cached clock decides, so all commands of a batch agree."""
    return entry.flags & E_EXPIRE and entry_expire(entry) < e.now_ms

cdef inline bint may_delete_expired(const engine_t* e) noexcept nogil:
    """Not while the data set must stand still (CLIENT PAUSE), nor while a file or another server decides."""
    return not e.no_lazy_expire and not e.params.import_mode and e.pause.until_ms <= e.now_ms

cdef void expire_now(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil
    # Deletes an expired key: journal, notification, statistics.
cdef void expire_slow_cycle(engine_t* e) noexcept nogil  # from cron
cdef void expire_fast_cycle(engine_t* e) noexcept nogil  # at the end of a tick; one comparison when nothing is due
