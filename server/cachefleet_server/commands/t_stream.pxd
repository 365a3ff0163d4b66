"""Stream commands: what the files of the family share.

    t_stream_ids.pyx      ids and trimming rules as arguments
    t_stream.pyx          entries: XADD, XRANGE, XDEL, XTRIM ...
    t_stream_refs.pxd     removing with an eye on groups
    t_stream_idmp.pxd     what producers send twice
    t_stream_group.pxd    groups of consumers

A write goes: look up, `stream_to_write`, change it (ds/stream.pxd), then who watches, the event, the count of changes.
A stream without entries stays, unlike other collections: its groups and its last id are worth keeping.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.errors cimport ERR_NO_KEY
from cachefleet_server.core.entry cimport OBJ_STREAM, entry_payload, entry_t
from cachefleet_server.core.reply cimport reply_array, reply_bulk, reply_error, reply_int, reply_text
from cachefleet_server.core.stream_type cimport entry_stream
from cachefleet_server.ds.idtree cimport sid_t
from cachefleet_server.ds.stream cimport (
    STREAM_ID_CHARS, sid_next, sid_previous, sid_to_chars, stream_iter_t, stream_own, stream_t)
from cachefleet_server.keyspace.db cimport (
    NOTIFY_STREAM, arg_hash, db_insert, key_changed, lookup_read, lookup_write, notify, signal_modified,
    type_or_reply)

cdef int register_stream(engine_t* e) except -1

cdef inline stream_t* stream_to_write(client_t* c, entry_t* entry) noexcept nogil:
    """Of a key from lookup_write; a snapshot that shares it keeps what was."""
    cdef stream_t* s = stream_own(c.engine.heap, entry_stream(entry))
    entry_payload(entry)[0] = s
    return s

cdef inline entry_t* stream_or_no_key(client_t* c, entry_t* entry) noexcept nogil:
    """A key that was looked up, if it is a stream; NULL after replying that it is none."""
    if entry == NULL:
        reply_error(c, ERR_NO_KEY)
        return NULL
    return entry if type_or_reply(c, entry, OBJ_STREAM) else NULL

cdef inline void reply_named_int(client_t* c, const char* name, int64_t v) noexcept nogil:
    reply_text(c, name)
    reply_int(c, v)

cdef inline void reply_id(client_t* c, const sid_t* id) noexcept nogil:
    cdef char text[STREAM_ID_CHARS]
    reply_bulk(c, &text[0], sid_to_chars(id, c"-", &text[0]))

cdef void reply_entry_parts(client_t* c, stream_iter_t* it) noexcept nogil  # its id, and fields with values

cdef inline void reply_stream_entry(client_t* c, stream_iter_t* it) noexcept nogil:
    reply_array(c, 2)
    reply_entry_parts(c, it)

cdef void reply_stream_entries(client_t* c, stream_iter_t* it, int64_t count) noexcept nogil
    # An array of the entry that the iterator is at and those behind it, `count` at most (0: all).
cdef void reply_range(
    client_t* c, const stream_t* s, const sid_t* start, const sid_t* end, int64_t count, bint back) noexcept nogil
    # The same of a range, which may be empty.
cdef entry_t* stream_create(client_t* c, arg_t* key) noexcept nogil  # an empty one, in the database
