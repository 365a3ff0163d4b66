"""What a snapshot puts into its stream; see deliver.pxd."""

from libc.string cimport memset

from cachefleet_server.core.engine cimport type_ops_t
from cachefleet_server.core.entry cimport entry_free_shell
from cachefleet_server.core.rdb cimport RDB_OPCODE_SELECTDB, rdb_put_entry, rdb_put_head, rdb_put_length
from cachefleet_server.core.types cimport (
    SAVE_AT_ONCE, entry_ops, entry_share, save_begin, save_end, save_init, save_step, value_is_shared, value_release)
from cachefleet_server.ds.buf cimport buf_putc
from cachefleet_server.ds.hashtable cimport ht_bucket_each
from cachefleet_server.ds.intrin cimport cf_cycles, cf_unlikely
from cachefleet_server.ds.link cimport link_append, link_prepend, link_remove
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.db cimport entry_usage
from cachefleet_server.keyspace.lazyfree cimport lazyfree_entry
from cachefleet_server.persistence.aof_rewrite cimport rewrite_entry, rewrite_expiry, rewrite_select
from cachefleet_server.persistence.rdb_writer cimport RDB_CHUNK, writer_chunk, writer_push

cdef enum:
    USAGE_SAMPLES = 5  # elements by which the size of a value is estimated


# ---- chains --------------------------------------------------------------------------------------

cdef size_t bytes_copied(const snapshot_t* s) noexcept nogil:
    return s.copied + (s.chunk.out.buf.len if s.chunk != NULL else 0)


cdef void _put_element(void* ctx, void* element) noexcept nogil:
    cdef snapshot_t* s = <snapshot_t*>ctx
    cdef entry_t* entry = <entry_t*>element
    cdef type_ops_t* ops = entry_ops(s.engine, entry)
    if ops.save_size_fn != NULL and ops.save_size_fn(entry) > SAVE_AT_ONCE:
        _hold(s, entry)
        return
    if s.commands:
        rewrite_entry(&s.chunk.out, s.engine, entry)
    else:
        rdb_put_entry(&s.chunk.out, s.engine, entry)
    s.keys_done += 1


cdef void deliver_chain(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    """ht_freeze_fn: serialises one chain. Runs inside the write that is about to change it, so it must not wait."""
    cdef frozen_t* f = <frozen_t*>ctx
    cdef snapshot_t* s = f.snapshot
    cdef size_t lent = s.chunk.out.lent
    if cf_unlikely(s.behind):
        return
    _select(s, f.dbid)
    ht_bucket_each(head, _put_element, s)
    if s.chunk.out.lent - lent > s.largest_lent:
        s.largest_lent = s.chunk.out.lent - lent
    _push_if_full(s)


cdef void _select(snapshot_t* s, int dbid) noexcept nogil:
    if s.selected == dbid:
        return
    s.selected = dbid
    if s.commands:
        rewrite_select(&s.chunk.out, dbid)
    else:
        buf_putc(&s.chunk.out.buf, RDB_OPCODE_SELECTDB)
        rdb_put_length(&s.chunk.out, dbid)


cdef void _push(snapshot_t* s) noexcept nogil:
    """The chunk to the writer, and a new one."""
    s.copied += s.chunk.out.buf.len
    if writer_push(s.writer, s.chunk) + s.waiting > s.behind_max + s.largest_lent:
        s.behind = True
    s.chunk = writer_chunk(s.writer, &s.like, False)
    s.pushed = True


cdef void _push_if_full(snapshot_t* s) noexcept nogil:
    if s.chunk.out.buf.len + s.chunk.out.lent >= RDB_CHUNK:
        _push(s)


# ---- large values --------------------------------------------------------------------------------

cdef inline held_t* _first_held(const snapshot_t* s) noexcept nogil:
    return <held_t*>(<char*>s.held.first - sizeof(save_t)) if s.held.first != NULL else NULL


cdef void _hold(snapshot_t* s, entry_t* entry) noexcept nogil:
    """Owns a large value from now on, as it is now; its record follows after the tables. O(1)."""
    cdef held_t* h = <held_t*>zmalloc(s.heap, sizeof(held_t))
    memset(h, 0, sizeof(held_t))
    h.snapshot = s
    h.dbid = s.selected
    h.entry = entry_share(s.engine, entry)
    save_init(&h.save, s.engine, h.entry, NULL, s.commands)
    h.save.held = True
    if not s.commands:
        h.save.rdb_type = entry_ops(s.engine, entry).rdb_type_fn(entry, s.like.dialect)
    h.save.out_fn = _held_out
    link_append(&s.held, &h.link)
    save_begin(&h.save)


cdef rdb_out_t* _held_out(save_t* save) noexcept nogil:
    """save_t.out_fn: the stream while the value's record is being written, else the value's own chunks."""
    cdef held_t* h = <held_t*>save
    cdef snapshot_t* s = h.snapshot
    if cf_unlikely(s.behind or s.state != SNAPSHOT_RUNNING):
        return NULL
    if not h.begun and not s.commands:
        return _waiting_out(s, h)
    _push_if_full(s)
    if s.commands:
        _select(s, h.dbid)
    return &s.chunk.out


cdef void _count_waiting(snapshot_t* s, held_t* h) noexcept nogil:
    cdef size_t n = h.last.out.buf.len
    s.waiting += n - h.counted
    s.copied += n - h.counted
    h.counted = n


cdef void _put_aside(snapshot_t* s, held_t* h) noexcept nogil:
    """Its chunks to the writer, but not for the stream yet."""
    cdef rdb_chunk_t* chunk = h.first
    cdef rdb_chunk_t* following
    if h.number == 0:
        s.numbers += 1
        h.number = s.numbers
    while chunk != NULL:
        following = chunk.next
        chunk.aside = h.number
        s.waiting -= chunk.out.buf.len
        if writer_push(s.writer, chunk) + s.waiting > s.behind_max + s.largest_lent:
            s.behind = True
        chunk = following
    h.first = h.last = NULL


cdef rdb_out_t* _waiting_out(snapshot_t* s, held_t* h) noexcept nogil:
    cdef rdb_chunk_t* chunk
    cdef bint much = s.asides and s.waiting > ASIDE_MIN
    cdef size_t enough = ASIDE_PIECE if much else RDB_CHUNK
    if h.last != NULL:
        _count_waiting(s, h)
        if s.waiting > s.behind_max:
            s.behind = True
        if h.counted < enough:
            return &h.last.out
        if much:
            _put_aside(s, h)
    chunk = writer_chunk(s.writer, &s.like, True)
    if h.last != NULL:
        h.last.next = chunk
    else:
        h.first = chunk
        link_remove(&s.held, &h.link)
        link_prepend(&s.held, &h.link)
    h.last = chunk
    h.counted = 0
    return &chunk.out


cdef void _push_waiting(snapshot_t* s, held_t* h) noexcept nogil:
    """To the writer, whatever its queue: it is in memory in any case."""
    cdef rdb_chunk_t* chunk = h.first
    cdef rdb_chunk_t* following
    if chunk == NULL:
        return
    _count_waiting(s, h)
    while chunk != NULL:
        following = chunk.next
        s.waiting -= chunk.out.buf.len
        writer_push(s.writer, chunk)
        chunk = following
    h.first = h.last = NULL
    s.pushed = True


cdef bint deliver_value(snapshot_t* s) noexcept nogil:
    cdef held_t* h = s.current
    cdef bint more
    if h == NULL:
        h = _first_held(s)
        if h == NULL:
            return False
        link_remove(&s.held, &h.link)
        s.current = h
        h.begun = True
        _select(s, h.dbid)
        s.chunk.out.delay_us += s.engine.params.rdb_key_save_delay
        if not s.commands:
            rdb_put_head(&s.chunk.out, s.engine, h.entry, h.save.rdb_type)
    more = save_step(&h.save)
    if h.first != NULL or h.number:  # behind the count, which the first step wrote
        _push(s)
        _push_waiting(s, h)
        s.chunk.recall = h.number
        h.number = 0
    if not more:
        if s.commands:
            _select(s, h.dbid)
            rewrite_expiry(&s.chunk.out, h.entry)
        s.current = NULL
        s.keys_done += 1
        _let_go(s, h)
    _push_if_full(s)
    return s.current != NULL or s.held.first != NULL


cdef void _let_go(snapshot_t* s, held_t* h) noexcept nogil:
    cdef engine_t* e = s.engine
    save_end(&h.save)
    if value_is_shared(h.entry):
        value_release(entry_ops(e, h.entry), e.heap, h.entry)
        entry_free_shell(e.heap, h.entry)
    else:
        e.snapshot_alone -= min(entry_usage(e, h.entry, USAGE_SAMPLES), e.snapshot_alone)
        lazyfree_entry(e, h.entry)
    zfree(s.heap, h)


cdef bint drop_held(snapshot_t* s, uint64_t start, uint64_t budget) noexcept nogil:
    cdef held_t* h
    while True:
        h = s.current if s.current != NULL else _first_held(s)
        if h == NULL:
            return True
        if h == s.current:
            s.current = NULL
        else:
            link_remove(&s.held, &h.link)
        _push_waiting(s, h)
        _let_go(s, h)
        if cf_cycles() - start >= budget:
            return False
