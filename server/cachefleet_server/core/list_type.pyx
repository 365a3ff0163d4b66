"""The row of lists; see list_type.pxd."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cachefleet_server.core.digest cimport digest_mix
from cachefleet_server.core.engine cimport batched_t, rdb_in_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_LISTPACK, ENC_QUICKLIST, OBJ_LIST, entry_bytes, entry_dup_embedded, entry_encoding, entry_key,
    entry_new_pointer, entry_size, entry_t)
from cachefleet_server.core.list_value cimport (
    list_check, list_done, list_iter_t, list_len, list_listpack_bytes, list_next, list_of_sequence, list_seek,
    list_sequence)
from cachefleet_server.core.rdb cimport (
    RDB_ERROR_EMPTY, rdb_get_length, rdb_put_length, rdb_put_string, rdb_refuse, rdb_view_string)
from cachefleet_server.core.types cimport SAVE_STEP, save_out, type_register, type_row
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_putc, buf_reserve, buf_t
from cachefleet_server.ds.intrin cimport cf_prefetch, cf_store16, cf_store32
from cachefleet_server.ds.listblock cimport LB_PLAIN, lb_begin, lb_save, lb_saved_size, lblock_t
from cachefleet_server.ds.listpack cimport (
    LP_COUNT_UNKNOWN, LP_EMPTY, LP_END, LP_HEADER, lp_entry_put, lp_entry_size, lp_item_t, lp_text)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.seq_reading cimport (
    seq_block, seq_block_next, seq_done, seq_iter_t, seq_next, seq_seek)
from cachefleet_server.ds.sequence cimport (
    seq_append_listpack, seq_blocks, seq_bytes, seq_len, seq_memory, seq_new, seq_own, seq_prefetch, seq_push,
    seq_release, seq_share, seq_t)
from cachefleet_server.ds.ziplist cimport ZIPLIST_HEADER, ziplist_next, ziplist_validate
from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zmalloc
from cachefleet_server.resp.command cimport command_header, command_word

cdef enum:
    RDB_LIST = 1
    RDB_LIST_ZIPLIST = 10
    RDB_LIST_QUICKLIST = 14
    RDB_LIST_QUICKLIST_2 = 18
    NODE_PLAIN = 1  # of a QUICKLIST_2
    NODE_PACKED = 2
    COMMAND_ITEMS = 64  # elements of a command of an AOF base, at most

cdef struct saving_t:  # of a sequence; state of a save_t
    seq_t* list  # a share of it
    bint whole  # it is one packed node in Valkey, though it has several blocks here or a plain one
    seq_iter_t it
    buf_t node


# ---- the row ---------------------------------------------------------------------------------------

cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    cdef seq_t* s = list_sequence(entry)
    s.refs = 1  # nobody else owns it, whatever the count was left at
    seq_release(h, s)


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    return seq_blocks(list_sequence(entry))


cdef entry_t* _dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    """O(1): a header of its own for the same blocks."""
    if entry.flags & E_EMBED:
        return entry_dup_embedded(e.heap, entry, key, nk, -1)
    return entry_new_pointer(
        e.heap, key, nk, OBJ_LIST, entry_encoding(entry), seq_own(e.heap, seq_share(list_sequence(entry))), -1)


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    return 0 if entry.flags & E_EMBED else seq_memory(list_sequence(entry))


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    cdef list_iter_t it
    cdef lp_item_t item
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    list_seek(&it, e.heap, entry, 0, False)
    while list_next(&it, &item):
        p = lp_text(&item, &digits[0], &n)
        digest_mix(digest, p, n)
    list_done(&it)


cdef bint _prefetch(engine_t* e, const entry_t* entry, const batched_t* p, int step) noexcept nogil:
    """Both ends: a longer embedded list is moved as a whole by LPUSH, and that begins at its end."""
    if entry.flags & E_EMBED:
        cf_prefetch(<const char*>entry + entry_size(entry))
        return False
    return seq_prefetch(list_sequence(entry), step)


# ---- loading ---------------------------------------------------------------------------------------

cdef bint _append_ziplist(engine_t* e, seq_t* s, const char* p, size_t n) noexcept nogil:
    cdef size_t at, size
    cdef lp_item_t item
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* text
    if not ziplist_validate(p, n, &at):
        return False
    at = ZIPLIST_HEADER
    while ziplist_next(p, &at, &item):
        text = lp_text(&item, &digits[0], &size)
        seq_push(e.heap, s, False, text, size)
    return True


cdef size_t _load_node(engine_t* e, rdb_in_t* in_, int type_byte, seq_t* s) noexcept nogil:
    """A string of the record: an element, or elements in a packed form. Bytes of the listpack, if it was one."""
    cdef uint64_t container = NODE_PACKED
    cdef size_t listpack = 0
    cdef char* owned = NULL
    cdef const char* p
    cdef size_t n = 0
    if type_byte == RDB_LIST_QUICKLIST_2:
        container = rdb_get_length(in_, NULL)
        if container != NODE_PLAIN and container != NODE_PACKED:
            rdb_refuse(in_, b"a list's node of an unknown kind")
            return 0
    p = rdb_view_string(in_, &n, &owned)
    if in_.error != NULL:
        return 0
    if type_byte == RDB_LIST or container == NODE_PLAIN:
        seq_push(e.heap, s, False, p, n)
    elif type_byte == RDB_LIST_QUICKLIST_2:
        listpack = n
        if not seq_append_listpack(e.heap, s, p, n):
            rdb_refuse(in_, b"corrupt listpack of a list")
    elif not _append_ziplist(e, s, p, n):
        rdb_refuse(in_, b"corrupt ziplist of a list")
    elif type_byte == RDB_LIST_QUICKLIST:  # a ziplist alone is a quicklist until it shrinks, as in Valkey
        listpack = seq_bytes(s) + LP_EMPTY
    zfree(in_.heap, owned)
    return listpack


cdef entry_t* _load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef uint64_t left = 1 if type_byte == RDB_LIST_ZIPLIST else rdb_get_length(in_, NULL)
    cdef seq_t* s = seq_new(e.heap, <int>e.params.list_max_listpack_size, <int>e.params.list_compress_depth)
    cdef size_t listpack = 0  # its bytes, if there is no other node
    cdef size_t before, n
    while left and in_.error == NULL:
        before = seq_len(s)
        n = _load_node(e, in_, type_byte, s)
        if seq_len(s) > before:
            listpack = n if before == 0 else 0
        left -= 1
    if in_.error == NULL and seq_len(s) == 0:
        rdb_refuse(in_, RDB_ERROR_EMPTY)
    if in_.error != NULL:
        seq_release(e.heap, s)
        return NULL
    if type_byte == RDB_LIST:
        listpack = list_listpack_bytes(s)
    return list_of_sequence(e, key, nk, s, listpack, expire_ms)


cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    return RDB_LIST_QUICKLIST_2


# ---- saving ----------------------------------------------------------------------------------------

cdef size_t _save_size(const entry_t* entry) noexcept nogil:
    return entry.vlen if entry.flags & E_EMBED else seq_bytes(list_sequence(entry))


cdef void _save_begin(save_t* s) noexcept nogil:
    cdef saving_t* saving
    cdef seq_t* list_
    if s.entry.flags & E_EMBED:
        return
    saving = <saving_t*>zmalloc(s.engine.heap, sizeof(saving_t))
    list_ = seq_share(list_sequence(s.entry))
    saving.list = list_
    saving.whole = (seq_blocks(list_) > 1 or list_.head.form & LB_PLAIN) and (
        entry_encoding(s.entry) == ENC_LISTPACK or list_listpack_bytes(list_) != 0)
    seq_seek(&saving.it, s.engine.heap, saving.list, 0, False)
    buf_init(&saving.node, s.engine.heap)
    s.state = saving


cdef void _save_end(save_t* s) noexcept nogil:
    cdef saving_t* saving = <saving_t*>s.state
    if saving == NULL:
        return
    seq_done(&saving.it)
    seq_release(s.engine.heap, saving.list)
    buf_free(&saving.node)
    zfree(s.engine.heap, saving)


cdef void _put_node(rdb_out_t* out, saving_t* saving, const lblock_t* block) noexcept nogil:
    cdef size_t n = lb_saved_size(block)
    if block.form & LB_PLAIN:
        rdb_put_length(out, NODE_PLAIN)
        rdb_put_string(out, lb_begin(block), n)
        return
    rdb_put_length(out, NODE_PACKED)
    lb_save(block, buf_reserve(&saving.node, n))
    rdb_put_string(out, saving.node.data, n)


cdef void _put_whole(rdb_out_t* out, saving_t* saving) noexcept nogil:
    """All elements as one node."""
    cdef lp_item_t item
    cdef size_t size
    saving.node.len = LP_HEADER
    buf_reserve(&saving.node, LP_EMPTY - LP_HEADER)
    while seq_next(&saving.it, &item):
        size = lp_entry_size(&item)
        lp_entry_put(buf_reserve(&saving.node, size), &item)
        saving.node.len += size
    buf_putc(&saving.node, LP_END)
    cf_store32(saving.node.data, <uint32_t>saving.node.len)
    cf_store16(saving.node.data + 4, <uint32_t>min(seq_len(saving.list), <size_t>LP_COUNT_UNKNOWN))
    rdb_put_length(out, NODE_PACKED)
    rdb_put_string(out, saving.node.data, saving.node.len)


cdef void _begin_command(rdb_out_t* out, const entry_t* entry, size_t items) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    command_header(&out.buf, c"*", 2 + items)
    command_word(&out.buf, b"RPUSH", 5)
    command_word(&out.buf, key, nk)


cdef void _put_word(rdb_out_t* out, const lp_item_t* item) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef size_t n
    cdef const char* p = lp_text(item, &digits[0], &n)
    command_word(&out.buf, p, n)


cdef void _save_small(save_t* s) noexcept nogil:
    """An embedded list, at once."""
    cdef rdb_out_t* out = save_out(s)
    cdef const char* p
    cdef size_t n
    if out == NULL:
        return
    if s.commands:
        _save_small_commands(s, out)
        return
    p = entry_bytes(s.entry, &n)
    rdb_put_length(out, 1)
    rdb_put_length(out, NODE_PACKED)
    rdb_put_string(out, p, n)


cdef void _save_small_commands(save_t* s, rdb_out_t* out) noexcept nogil:
    cdef size_t left = list_len(s.entry)
    cdef list_iter_t it
    cdef lp_item_t item
    cdef size_t count
    list_seek(&it, s.engine.heap, s.entry, 0, False)
    while left:
        count = min(left, <size_t>COMMAND_ITEMS)
        left -= count
        _begin_command(out, s.entry, count)
        while count and list_next(&it, &item):
            _put_word(out, &item)
            count -= 1
    list_done(&it)


cdef void _put_commands(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    """One command: elements of one block."""
    cdef size_t count = min(saving.it.left, <size_t>COMMAND_ITEMS)
    cdef lp_item_t item
    _begin_command(out, s.entry, count)
    while count and seq_next(&saving.it, &item):
        _put_word(out, &item)
        count -= 1


cdef bint _save_step(save_t* s) noexcept nogil:
    cdef saving_t* saving = <saving_t*>s.state
    cdef rdb_out_t* out
    cdef size_t before
    if saving == NULL:
        _save_small(s)
        return False
    while seq_block(&saving.it) != NULL and s.written < SAVE_STEP:
        out = save_out(s)
        if out == NULL:
            return False
        before = out.buf.len
        if not s.counted and not s.commands:
            rdb_put_length(out, 1 if saving.whole else seq_blocks(saving.list))
        s.counted = True
        if s.commands:
            _put_commands(s, out, saving)
        elif saving.whole:
            _put_whole(out, saving)
        else:
            _put_node(out, saving, seq_block(&saving.it))
            saving.it.left = 0
        if saving.it.left == 0:
            seq_block_next(&saving.it)
        s.written += out.buf.len - before
    return seq_block(&saving.it) != NULL


cdef void register_list_type(engine_t* e) noexcept nogil:
    cdef type_ops_t* row = type_row(e, OBJ_LIST)
    row.encodings[ENC_LISTPACK] = b"listpack"
    row.encodings[ENC_QUICKLIST] = b"quicklist"
    row.rdb_bytes = 1 << RDB_LIST | 1 << RDB_LIST_ZIPLIST | 1 << RDB_LIST_QUICKLIST | 1 << RDB_LIST_QUICKLIST_2
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = list_check
    row.load_fn = _load
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    row.prefetch_fn = _prefetch
    type_register(e, OBJ_LIST)
