"""Entries that go together with what groups know of them, or only when no group needs them: XDELEX and XACKDEL of Redis
8.2 and Valkey 9.2, and a word of Redis 8.2's XADD and XTRIM.

    KEEPREF   as XDEL: groups keep what they have pending
    DELREF    it goes from what is pending, too, even if the stream has it no more
    ACKED     it goes only if all groups have read it, and none has it pending; without groups always

Older servers do not know these words, so the journal has what was done: XDEL, and XACK for each group. A trim with a
policy goes from entry to entry, exact even where "~" would allow less.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.stream cimport stream_t, stream_trim_t

cdef enum:
    REFS_KEEP
    REFS_DELETE
    REFS_ACKED
    REFS_NONE = -1  # no word of these

    REMOVED_NONE = -1  # as the commands reply: there is no such entry ...
    REMOVED = 1
    REMOVED_NOT = 2  # ... or a group needs it

cdef struct removing_t:
    client_t* client
    const arg_t* key
    stream_t* stream  # to write
    int policy  # REFS_*
    buf_t gone  # ids that left the stream
    buf_t forgotten  # ids that groups had pending, with the group's place

cdef int arg_policy(const arg_t* a) noexcept nogil
cdef void removing_begin(removing_t* r, client_t* c, const arg_t* key, stream_t* s, int policy) noexcept nogil
cdef int removing_entry(removing_t* r, const sid_t* id) noexcept nogil  # REMOVED_*
cdef int64_t removing_trim(removing_t* r, const stream_trim_t* rule) noexcept nogil  # how many went
cdef void removing_end(removing_t* r) noexcept nogil
    # Says in the journal what was done, in the order of XACK and XDEL; the caller has begun a transaction.

cdef int register_stream_refs(engine_t* e) except -1
