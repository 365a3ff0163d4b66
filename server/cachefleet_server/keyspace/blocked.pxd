"""Clients that wait: for keys (keyspace/waiting), WAIT, WAITAOF, CLIENT PAUSE, Python rows that return an awaitable.

A blocked client's input is read and not parsed. `unblock_client` ends the wait: it replies through the function
that block_client was given, and the reactor goes on with the input that the client had sent meanwhile
(client_resume). A command that waited is counted when it ends, as in Valkey. Deadlines are unix time in ms, checked by
`blocked_timeouts` in O(1) while none is due.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport client_t, engine_t

ctypedef void (*unblock_reply_fn)(client_t* c, bint timed_out) noexcept nogil

cdef void block_client(client_t* c, int kind, int64_t until_ms, unblock_reply_fn unblock_fn) noexcept nogil
    # The client must not be blocked. until_ms 0 = for ever; unblock_fn may be NULL. What it waits for may be kept in
    # c.waiter, from the engine's heap: it is there when unblock_fn runs, and freed after it or with the client.
cdef void unblock_client(client_t* c, bint timed_out) noexcept nogil
    # Does nothing to a client that is not blocked. unblock_fn sees c.blocked as it was and may block the client again.
cdef void blocked_timeouts(engine_t* e) noexcept nogil  # from cron, and at the end of a tick
cdef void block_until(client_t* c, int64_t until_ms) noexcept nogil  # another deadline for a blocked client
cdef void blocked_deadline_counts(client_t* c) noexcept nogil
    # Again, after a pause held back what the client waits for: a time that is up passed by meanwhile.
cdef void block_forget(client_t* c) noexcept nogil  # the client goes away: no reply
cdef void blocked_free(engine_t* e) noexcept nogil  # with the engine; no client is blocked any more
cdef int blocked_check(const engine_t* e) noexcept nogil  # 0 when the heap of deadlines is in order
