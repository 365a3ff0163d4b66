"""List commands: what the files of the family share.

    t_list.pyx        elements at the ends and in ranges: LPUSH, LPOP, LRANGE, LTRIM ...
    t_list_inner.pyx  elements found by their place or value: LINDEX, LSET, LINSERT, LREM, LPOS
    t_list_move.pyx   LMOVE, LMPOP, and all that wait

A write goes: look up, change the value (core/list_value.pxd), `list_stored` with the entry's new address, then
`list_removed` or `list_changed`, then the reply unless it had to come before elements went.
"""

from libc.stdint cimport int64_t
from libc.string cimport strlen

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport OBJ_LIST, entry_t
from cachefleet_server.core.list_value cimport list_block, list_iter_t, list_len, list_settle
from cachefleet_server.core.reply cimport reply_begin, reply_bulk, reply_error, reply_shared
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.listblock cimport lblock_t
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, NOTIFY_LIST, arg_hash, db_insert, db_replace, delete_if_empty, lookup_read, lookup_write, notify,
    signal_modified, type_or_reply)
from cachefleet_server.resp.writer cimport OUT_SHARE_MIN

cdef int register_list(engine_t* e) except -1

cdef inline void reply_item(client_t* c, const lp_item_t* item, lblock_t* block) noexcept nogil:
    """An element, which lies in the block (NULL: elsewhere). A long one is a block alone, and is sent from there: a
    block has owners as a blob has, by its first word, and is freed as one."""
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    if cf_unlikely(item.str != NULL and item.len >= OUT_SHARE_MIN and block != NULL):
        reply_shared(c, <blob_t*>block, item.str, item.len)
        return
    p = lp_text(item, &digits[0], &n)
    reply_bulk(c, p, n)

cdef inline void list_changed(client_t* c, const char* event, const arg_t* key, size_t changes) noexcept nogil:
    signal_modified(c, c.db, key.ptr, key.len, key.hash)
    notify(c.engine, NOTIFY_LIST, event, key.ptr, key.len, c.db.id)
    c.engine.persist.dirty += changes

cdef void list_removed(
    client_t* c, const char* event, arg_t* key, entry_t* old, entry_t* entry, size_t changes) noexcept nogil
    # After elements went from the list that was at `old`: its name and form, its end if none is left, the events.
cdef void pop_and_reply(client_t* c, arg_t* key, entry_t* entry, bint front, size_t count) noexcept nogil
    # That many elements, which are there, as an array.
cdef void pop_one_and_reply(client_t* c, arg_t* key, entry_t* entry, bint front) noexcept nogil
