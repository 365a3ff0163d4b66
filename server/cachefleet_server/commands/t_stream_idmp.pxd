"""What is sent twice and added once: IDMP and IDMPAUTO of XADD, XCFGSET (Redis 8.6), XIDMPRECORD (8.8).

A producer gives each message an id of its own (IDMP), or its content is that (IDMPAUTO): the sum of the hashes of its
pairs, so their order does not matter, which in many clients is that of a hash table. What is remembered for how long
is in ds/stream_idmp.pxd.

In the journal the entry is a plain XADD, and what is remembered an XIDMPRECORD behind it, with the id of the entry,
whose time says when. A trim then goes from entry to entry, as with the words of Redis 8.2 (t_stream_refs.pxd).

Only our own files can hold it (core/stream_type.pxd), so a stream has none of it before the first such command, and
again after XCFGSET has set both values to what they are from the beginning.
"""

from cachefleet_server.commands.t_stream_ids cimport idmp_words_t
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.stream cimport stream_t

cdef int idmp_words(client_t* c, int at, idmp_words_t* out) noexcept nogil
    # How many words are behind IDMP or IDMPAUTO at this place; 0 after replying what is wrong; -1: it is neither.
cdef void idmp_digest(client_t* c, int first, idmp_words_t* words) noexcept nogil
    # With IDMPAUTO the iid is that of the fields and values from this argument on.
cdef bint idmp_is_duplicate(client_t* c, stream_t* s, const idmp_words_t* words, sid_t* id) noexcept nogil
    # Of a stream to write: it counts it. The id is that of the entry that came first.
cdef void idmp_remember(
    client_t* c, const arg_t* key, stream_t* s, const idmp_words_t* words, const sid_t* id) noexcept nogil
    # In the caller's transaction of the journal, behind the entry.
cdef void reply_idmp(client_t* c, const stream_t* s) noexcept nogil  # IDMP_FIELDS fields of XINFO STREAM

cdef enum:
    IDMP_FIELDS = 6

cdef int register_stream_idmp(engine_t* e) except -1
