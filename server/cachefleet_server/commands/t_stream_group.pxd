"""Consumer groups: what the files of the family share, and XGROUP, XACK.

    t_stream_read.pyx     XREAD, XREADGROUP
    t_stream_group.pyx    XGROUP, XACK
    t_stream_pending.pyx  XPENDING, XCLAIM, XAUTOCLAIM
    t_stream_info.pyx     XINFO

What a group has pending depends on the time and on who asked first, so none of these commands is journalled as it
came, but for XGROUP and XACK: each entry that is delivered or claimed is an XCLAIM with its time and count, and where
the group has read to an XGROUP SETID. Together they are a transaction.
"""

from libc.stdint cimport int64_t, uint32_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.stream cimport stream_t
from cachefleet_server.ds.stream_group cimport sconsumer_t, sgroup_t, spending_t

cdef int register_stream_group(engine_t* e) except -1

cdef struct group_t:  # a group that a command works on
    client_t* client
    arg_t* key
    arg_t* name
    entry_t* entry
    uint32_t place  # in the stream
    sgroup_t* group  # to write, after group_to_write
    stream_t* stream

cdef bint group_lookup(client_t* c, arg_t* key, arg_t* name, group_t* out) noexcept nogil
    # Of a key that is a stream, or missing (then there is no group); false after replying that it is of another type.
    # out.group, to read, is NULL if there is none.
cdef bint group_or_reply(client_t* c, arg_t* key, arg_t* name, const char* behind, group_t* out) noexcept nogil
    # False after replying what is wrong, with this behind the text that there is no such group.
cdef void reply_no_group(
    client_t* c, const char* before, const arg_t* a, const char* between, const arg_t* b, const char* behind
) noexcept nogil
cdef bint no_such_words(client_t* c, const char* format) noexcept nogil
    # False, after replying this with the subcommand as the client wrote it.
cdef void group_to_write(group_t* g) noexcept nogil
cdef uint32_t consumer_or_new(group_t* g, const arg_t* name, bint* is_new) noexcept nogil
    # The consumer's number; seen now. A new one is an event and a change.
cdef void pending_since(const group_t* g, int64_t oldest) noexcept nogil
    # Behind a delivery, with what group_oldest was: who waits for old entries hears of one that is older than all were.

# In the journal.
cdef void journal_claim(const group_t* g, const spending_t* entry) noexcept nogil
cdef void journal_group(const group_t* g) noexcept nogil  # where it has read to
cdef void journal_consumer(const group_t* g, const arg_t* name) noexcept nogil
