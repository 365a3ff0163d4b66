"""Expiry: lazily on access, and actively in bounded slices.

Whether a key counts as expired depends on who asks: its role (core/role.pxd), and in import-mode whether it is the
import's source. `is_expired` is the one answer. Everything else is about what follows from it.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport CLIENT_IMPORT_SOURCE, client_t, db_t, engine_t
from cachefleet_server.core.entry cimport E_EXPIRE, entry_expire, entry_t
from cachefleet_server.core.pause cimport paused
from cachefleet_server.core.role cimport EXPIRY_HIDE, EXPIRY_OWN, EXPIRY_PRESENT
from cachefleet_server.ds.intrin cimport cf_unlikely

cdef enum:
    EXPIRE_SLICE_US = 1000  # at most; what a client may have to wait because of expiry

cdef inline bint entry_is_past(const engine_t* e, const entry_t* entry) noexcept nogil:
    """What the clock says. The cached one decides, so all commands of a batch agree."""
    return entry.flags & E_EXPIRE and entry_expire(entry) < e.now_ms

cdef inline int expiry_rule(const client_t* c) noexcept nogil:
    """EXPIRY_*: who decides, for this client, that a key's time is over."""
    if c.role.expiry == EXPIRY_OWN and c.engine.params.import_mode:
        return EXPIRY_PRESENT if c.flags & CLIENT_IMPORT_SOURCE else EXPIRY_HIDE
    return c.role.expiry

cdef inline bint is_expired(const client_t* c, const entry_t* entry) noexcept nogil:
    """For this client the key is not there any more, whether or not it has been deleted."""
    return cf_unlikely(entry_is_past(c.engine, entry)) and expiry_rule(c) != EXPIRY_PRESENT

cdef inline bint may_delete_expired(const client_t* c) noexcept nogil:
    """Not while the data set must stand still (CLIENT PAUSE), nor while somebody else decides."""
    return expiry_rule(c) == EXPIRY_OWN and not paused(c.engine)

cdef inline bint deadline_is_past(const client_t* c, int64_t when_ms) noexcept nogil:
    """A key that is given this expiry now would be gone at once. Else it is stored, however early that is."""
    return when_ms <= c.engine.now_ms and expiry_rule(c) == EXPIRY_OWN

cdef void expire_now(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil
    # Deletes an expired key: journal, notification, statistics.
cdef void expire_slow_cycle(engine_t* e) noexcept nogil  # from cron
cdef void expire_fast_cycle(engine_t* e) noexcept nogil  # at the end of a tick; one comparison when nothing is due
