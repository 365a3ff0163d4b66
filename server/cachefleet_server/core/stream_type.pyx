"""The row of streams; see stream_type.pxd."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset, strlen

from cachefleet_server.core.digest cimport digest_mix
from cachefleet_server.core.engine cimport batched_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport ENC_STREAM, OBJ_STREAM, entry_encoding, entry_key, entry_new_pointer
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_OWN, RDB_DIALECT_REDIS, RDB_DIALECT_REDIS70, rdb_put_int64, rdb_put_length, rdb_put_string)
from cachefleet_server.core.stream_loading cimport (
    RDB_STREAM, RDB_STREAM_2, RDB_STREAM_3, RDB_STREAM_IDMP, stream_load)
from cachefleet_server.core.types cimport SAVE_STEP, save_out, type_register, type_row
from cachefleet_server.ds.buf cimport buf_put
from cachefleet_server.ds.idtree cimport idt_at, idt_edge, idt_find, idt_link, idt_node_t, idt_path_t, idt_step, sid_t
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_bswap64, cf_fetch, cf_prefetch, cf_store64
from cachefleet_server.ds.listpack cimport lp_item_t, lp_text
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.stream cimport (
    STREAM_ID_CHARS, sid_to_chars, stream_check, stream_effort, stream_field, stream_iter_t, stream_memory,
    stream_next, stream_own, stream_release, stream_seek, stream_share)
from cachefleet_server.ds.stream_block cimport sb_bytes, sb_end, sblock_t
from cachefleet_server.ds.stream_group cimport (
    group_at, pending_times, pending_when, sconsumer_t, sgroup_t, spending_t)
from cachefleet_server.ds.stream_idmp cimport (
    IDMP_DURATION_S, IDMP_MOST, idmp_at, siid_t, sidmp_t, sproducer_t)
from cachefleet_server.ds.zmalloc cimport heap_t, zcalloc, zfree
from cachefleet_server.resp.command cimport command_header, command_number, command_word

cdef enum:  # what a save writes next
    AT_ENTRIES  # blocks, or entries as commands
    AT_NUMBERS
    AT_GROUP
    AT_PENDING  # of the group; not as commands
    AT_CONSUMERS  # how many
    AT_CONSUMER
    AT_IDS  # of the consumer
    AT_IDMP
    AT_IIDS  # of producers
    AT_END

cdef struct saving_t:  # state of a save_t
    stream_t* stream  # a share of it
    int at
    uint32_t group
    uint32_t consumer
    idt_path_t path  # of blocks, or of pending entries
    bint more  # there is something at the path, or at the iterator
    stream_iter_t it  # commands
    bint idmp  # producers are written, too
    uint32_t producer
    uint32_t iid  # the producer's


# ---- the row ---------------------------------------------------------------------------------------

cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    cdef stream_t* s = entry_stream(entry)
    if s.idmp != NULL:
        cf_atomic_add(&ops.newer, 0 - <size_t>1)
    s.refs = 1  # nobody else owns it, whatever the count was left at
    stream_release(h, s)


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    return stream_effort(entry_stream(entry))


cdef entry_t* _dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    """O(groups): a header of its own for the same blocks and groups."""
    if entry_stream(entry).idmp != NULL:
        cf_atomic_add(&e.types[OBJ_STREAM].newer, 1)
    return entry_new_pointer(
        e.heap, key, nk, OBJ_STREAM, ENC_STREAM, stream_own(e.heap, stream_share(entry_stream(entry))), -1)


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    return stream_memory(entry_stream(entry))


cdef int _check(engine_t* e, const entry_t* entry) noexcept nogil:
    return stream_check(entry_stream(entry)) if entry_encoding(entry) == ENC_STREAM else -1


cdef void _seek_all(stream_iter_t* it, const stream_t* s) noexcept nogil:
    cdef sid_t start, end
    memset(&start, 0, sizeof(sid_t))
    memset(&end, 0xFF, sizeof(sid_t))
    stream_seek(it, s, &start, &end, False)


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    cdef stream_iter_t it
    cdef lp_item_t words[2]
    cdef char text[STREAM_ID_CHARS]
    cdef const char* p
    cdef size_t _, j, n
    _seek_all(&it, entry_stream(entry))
    while stream_next(&it):
        digest_mix(digest, &text[0], sid_to_chars(&it.entry.id, c".", &text[0]))
        for _ in range(it.entry.fields):
            stream_field(&it, &words[0], &words[1])
            for j in range(2):
                p = lp_text(&words[j], &text[0], &n)
                digest_mix(digest, p, n)


cdef bint _prefetch(engine_t* e, const entry_t* entry, const batched_t* p, int step) noexcept nogil:
    """The last block, where XADD adds and readers read."""
    cdef const stream_t* s = entry_stream(entry)
    cdef const idt_node_t* top
    cdef const sblock_t* last
    if step == 0:
        cf_fetch(s)
        cf_prefetch(<const char*>s + 64)
        return True
    top = s.blocks.top
    if top == NULL:
        return False
    if step == 1:
        cf_fetch(top)
        return True
    if top.level:
        return False
    if step == 2:
        cf_prefetch(idt_link(top, top.n - 1))
        return True
    last = <sblock_t*>idt_link(top, top.n - 1)[0]
    if step == 3:
        cf_fetch(last)
        return True
    cf_prefetch(sb_end(last))
    return False


cdef int _dialect(const entry_t* entry) noexcept nogil:
    """Redis 7.0 takes it that a consumer was active when it was seen."""
    cdef const stream_t* s = entry_stream(entry)
    cdef const sconsumer_t* consumer
    cdef uint32_t i, j
    if s.idmp != NULL:
        return RDB_DIALECT_OWN
    for i in range(s.group_count):
        for j in range(s.groups[i].len):
            consumer = group_at(s.groups[i], j)
            if consumer.active_ms != consumer.seen_ms:
                return RDB_DIALECT_REDIS
    return RDB_DIALECT_REDIS70


cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    if dialect == RDB_DIALECT_OWN and entry_stream(entry).idmp != NULL:
        return RDB_STREAM_IDMP
    return RDB_STREAM_2 if dialect == RDB_DIALECT_REDIS70 else RDB_STREAM_3


# ---- saving ----------------------------------------------------------------------------------------

cdef size_t _save_size(const entry_t* entry) noexcept nogil:
    """With groups it is held in any case: a step of theirs has a bound, all of them have none."""
    cdef const stream_t* s = entry_stream(entry)
    cdef size_t n = s.bytes
    cdef uint32_t i
    for i in range(s.group_count):
        n += 64 + s.groups[i].len * 64 + s.groups[i].pending.count * 48
    if s.idmp != NULL:
        n += s.idmp.len * <size_t>s.idmp.most * 64
    return n


cdef void _save_begin(save_t* s) noexcept nogil:
    cdef saving_t* saving = <saving_t*>zcalloc(s.engine.heap, sizeof(saving_t))
    saving.stream = stream_share(entry_stream(s.entry))
    saving.idmp = saving.stream.idmp != NULL and (s.commands or s.rdb_type == RDB_STREAM_IDMP)
    if s.commands:
        _seek_all(&saving.it, saving.stream)
        saving.more = stream_next(&saving.it)
    else:
        saving.more = idt_edge(&saving.stream.blocks, False, &saving.path)
    s.state = saving


cdef void _save_end(save_t* s) noexcept nogil:
    cdef saving_t* saving = <saving_t*>s.state
    stream_release(s.engine.heap, saving.stream)
    zfree(s.engine.heap, saving)


cdef inline const sgroup_t* _group(const saving_t* saving) noexcept nogil:
    return saving.stream.groups[saving.group]


cdef inline const sconsumer_t* _consumer(const saving_t* saving) noexcept nogil:
    return group_at(_group(saving), saving.consumer)


cdef void _next_group(saving_t* saving) noexcept nogil:
    if saving.group < saving.stream.group_count:
        saving.at = AT_GROUP
    else:
        saving.at = AT_IDMP if saving.idmp else AT_END


cdef void _next_consumer(saving_t* saving) noexcept nogil:
    if saving.consumer < _group(saving).len:
        saving.at = AT_CONSUMER
    else:
        saving.group += 1
        _next_group(saving)


cdef inline const sproducer_t* _producer(const saving_t* saving) noexcept nogil:
    return saving.stream.idmp.producers[saving.producer]


cdef void _next_iid(saving_t* saving) noexcept nogil:
    """Behind one that was written."""
    saving.iid += 1
    if saving.iid == _producer(saving).len:
        saving.iid = 0
        saving.producer += 1
        if saving.producer == saving.stream.idmp.len:
            saving.at = AT_END

# ---- as a record -------------------------------------------------------------------------------------

cdef void _put_id(rdb_out_t* out, const sid_t* id) noexcept nogil:
    rdb_put_length(out, id.ms)
    rdb_put_length(out, id.seq)


cdef void _put_raw_id(rdb_out_t* out, const sid_t* id) noexcept nogil:
    cdef char raw[16]
    cf_store64(&raw[0], cf_bswap64(id.ms))
    cf_store64(&raw[8], cf_bswap64(id.seq))
    buf_put(&out.buf, &raw[0], 16)


cdef void _put_block(rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sid_t* master = idt_at(&saving.path)
    cdef const sblock_t* b = (<sblock_t**>(master + 1))[0]
    rdb_put_length(out, sizeof(sid_t))
    _put_raw_id(out, master)
    rdb_put_string(out, &b.data[0], sb_bytes(b))
    saving.more = idt_step(&saving.path, False)


cdef void _put_numbers(rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const stream_t* s = saving.stream
    rdb_put_length(out, s.length)
    _put_id(out, &s.last)
    _put_id(out, &s.first)
    _put_id(out, &s.max_deleted)
    rdb_put_length(out, s.added)
    rdb_put_length(out, s.group_count)
    _next_group(saving)


cdef void _put_group(rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sgroup_t* g = _group(saving)
    rdb_put_string(out, &g.name[0], g.name_len)
    _put_id(out, &g.last)
    rdb_put_length(out, <uint64_t>g.entries_read)
    rdb_put_length(out, g.pending.count)
    saving.more = idt_edge(&g.pending, False, &saving.path)
    saving.at = AT_PENDING if saving.more else AT_CONSUMERS


cdef void _put_pending(rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const spending_t* entry = <const spending_t*>idt_at(&saving.path)
    _put_raw_id(out, &entry.id)
    rdb_put_int64(out, pending_when(entry))
    rdb_put_length(out, pending_times(entry))
    if not idt_step(&saving.path, False):
        saving.at = AT_CONSUMERS


cdef void _put_consumer(rdb_out_t* out, saving_t* saving, int rdb_type) noexcept nogil:
    cdef const sconsumer_t* consumer = _consumer(saving)
    rdb_put_string(out, &consumer.name[0], consumer.name_len)
    rdb_put_int64(out, consumer.seen_ms)
    if rdb_type >= RDB_STREAM_3:
        rdb_put_int64(out, consumer.active_ms)
    rdb_put_length(out, consumer.pending.count)
    saving.more = idt_edge(&consumer.pending, False, &saving.path)
    saving.at = AT_IDS


cdef void _put_idmp(rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sidmp_t* m = saving.stream.idmp
    rdb_put_length(out, m.duration_s)
    rdb_put_length(out, m.most)
    rdb_put_length(out, m.added)
    rdb_put_length(out, m.duplicates)
    rdb_put_length(out, m.len)
    saving.at = AT_IIDS if m.len else AT_END


cdef void _put_iid(rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sproducer_t* p = _producer(saving)
    cdef const siid_t* iid = idmp_at(p, saving.iid)
    if saving.iid == 0:
        rdb_put_string(out, &p.name[0], p.name_len)
        rdb_put_length(out, p.len)
    rdb_put_string(out, iid.text, iid.len)
    _put_raw_id(out, &iid.id)
    rdb_put_int64(out, iid.when)
    _next_iid(saving)


cdef void _put_next(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    """A piece of the record."""
    if saving.at == AT_ENTRIES:
        if saving.more:
            _put_block(out, saving)
        if not saving.more:
            saving.at = AT_NUMBERS
    elif saving.at == AT_NUMBERS:
        _put_numbers(out, saving)
    elif saving.at == AT_GROUP:
        _put_group(out, saving)
    elif saving.at == AT_PENDING:
        _put_pending(out, saving)
    elif saving.at == AT_CONSUMERS:
        rdb_put_length(out, _group(saving).len)
        saving.consumer = 0
        _next_consumer(saving)
    elif saving.at == AT_CONSUMER:
        _put_consumer(out, saving, s.rdb_type)
    elif saving.at == AT_IDMP:
        _put_idmp(out, saving)
    elif saving.at == AT_IIDS:
        _put_iid(out, saving)
    else:
        if saving.more:
            _put_raw_id(out, idt_at(&saving.path))
            saving.more = idt_step(&saving.path, False)
        if not saving.more:
            saving.consumer += 1
            _next_consumer(saving)

# ---- as commands -------------------------------------------------------------------------------------

cdef void _word(rdb_out_t* out, const char* text) noexcept nogil:
    command_word(&out.buf, text, strlen(text))


cdef void _id_word(rdb_out_t* out, const sid_t* id) noexcept nogil:
    cdef char text[STREAM_ID_CHARS]
    command_word(&out.buf, &text[0], sid_to_chars(id, c"-", &text[0]))


cdef void _begin(save_t* s, rdb_out_t* out, size_t words, const char* name, const char* sub) noexcept nogil:
    """So many words in all; the name, its subcommand unless that is NULL, and the key."""
    cdef size_t nk
    cdef const char* key = entry_key(s.entry, &nk)
    command_header(&out.buf, c"*", words)
    _word(out, name)
    if sub != NULL:
        _word(out, sub)
    command_word(&out.buf, key, nk)


cdef void _command_entry(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef lp_item_t words[2]
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t _, j, n
    cdef stream_iter_t* it = &saving.it
    _begin(s, out, 3 + 2 * it.entry.fields, b"XADD", NULL)
    _id_word(out, &it.entry.id)
    for _ in range(it.entry.fields):
        stream_field(it, &words[0], &words[1])
        for j in range(2):
            p = lp_text(&words[j], &digits[0], &n)
            command_word(&out.buf, p, n)
    saving.more = stream_next(it)


cdef void _command_numbers(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const stream_t* stream = saving.stream
    cdef sid_t least
    if stream.length == 0:  # an entry that is gone at once makes the key
        least.ms = 0
        least.seq = 1
        _begin(s, out, 7, b"XADD", NULL)
        _word(out, b"MAXLEN")
        _word(out, b"0")
        _id_word(out, &least)
        _word(out, b"x")
        _word(out, b"y")
    _begin(s, out, 7, b"XSETID", NULL)
    _id_word(out, &stream.last)
    _word(out, b"ENTRIESADDED")
    command_number(&out.buf, <int64_t>stream.added)
    _word(out, b"MAXDELETEDID")
    _id_word(out, &stream.max_deleted)
    _next_group(saving)


cdef void _command_group(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sgroup_t* g = _group(saving)
    _begin(s, out, 7, b"XGROUP", b"CREATE")
    command_word(&out.buf, &g.name[0], g.name_len)
    _id_word(out, &g.last)
    _word(out, b"ENTRIESREAD")
    command_number(&out.buf, g.entries_read)
    saving.consumer = 0
    _next_consumer(saving)


cdef void _command_consumer(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    """Its creation, if it has nothing pending."""
    cdef const sgroup_t* g = _group(saving)
    cdef const sconsumer_t* consumer = _consumer(saving)
    saving.more = idt_edge(&consumer.pending, False, &saving.path)
    saving.at = AT_IDS
    if saving.more:
        return
    _begin(s, out, 5, b"XGROUP", b"CREATECONSUMER")
    command_word(&out.buf, &g.name[0], g.name_len)
    command_word(&out.buf, &consumer.name[0], consumer.name_len)


cdef void _command_claim(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sgroup_t* g = _group(saving)
    cdef const sconsumer_t* consumer = _consumer(saving)
    cdef const spending_t* entry = <const spending_t*>idt_find(&g.pending, idt_at(&saving.path))
    _begin(s, out, 12, b"XCLAIM", NULL)
    command_word(&out.buf, &g.name[0], g.name_len)
    command_word(&out.buf, &consumer.name[0], consumer.name_len)
    _word(out, b"0")
    _id_word(out, &entry.id)
    _word(out, b"TIME")
    command_number(&out.buf, pending_when(entry))
    _word(out, b"RETRYCOUNT")
    command_number(&out.buf, pending_times(entry))
    _word(out, b"JUSTID")
    _word(out, b"FORCE")
    saving.more = idt_step(&saving.path, False)


cdef void _command_settings(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sidmp_t* m = saving.stream.idmp
    saving.at = AT_IIDS if m.len else AT_END
    if m.duration_s == IDMP_DURATION_S and m.most == IDMP_MOST:
        return
    _begin(s, out, 6, b"XCFGSET", NULL)
    _word(out, b"IDMP-DURATION")
    command_number(&out.buf, m.duration_s)
    _word(out, b"IDMP-MAXSIZE")
    command_number(&out.buf, m.most)


cdef void _command_iid(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    cdef const sproducer_t* p = _producer(saving)
    cdef const siid_t* iid = idmp_at(p, saving.iid)
    _begin(s, out, 5, b"XIDMPRECORD", NULL)
    command_word(&out.buf, &p.name[0], p.name_len)
    command_word(&out.buf, iid.text, iid.len)
    _id_word(out, &iid.id)
    _next_iid(saving)


cdef void _command_next(save_t* s, rdb_out_t* out, saving_t* saving) noexcept nogil:
    if saving.at == AT_ENTRIES:
        if saving.more:
            _command_entry(s, out, saving)
        if not saving.more:
            saving.at = AT_NUMBERS
    elif saving.at == AT_NUMBERS:
        _command_numbers(s, out, saving)
    elif saving.at == AT_GROUP:
        _command_group(s, out, saving)
    elif saving.at == AT_CONSUMER:
        _command_consumer(s, out, saving)
    elif saving.at == AT_IDMP:
        _command_settings(s, out, saving)
    elif saving.at == AT_IIDS:
        _command_iid(s, out, saving)
    else:
        if saving.more:
            _command_claim(s, out, saving)
        if not saving.more:
            saving.consumer += 1
            _next_consumer(saving)


cdef bint _save_step(save_t* s) noexcept nogil:
    cdef saving_t* saving = <saving_t*>s.state
    cdef rdb_out_t* out
    cdef size_t before
    while saving.at != AT_END and s.written < SAVE_STEP:
        out = save_out(s)
        if out == NULL:
            return False
        before = out.buf.len
        if s.commands:
            _command_next(s, out, saving)
        else:
            if not s.counted:
                rdb_put_length(out, saving.stream.blocks.count)
            s.counted = True
            _put_next(s, out, saving)
        s.written += out.buf.len - before
    return saving.at != AT_END


cdef void register_stream_type(engine_t* e) noexcept nogil:
    cdef type_ops_t* row = type_row(e, OBJ_STREAM)
    row.encodings[ENC_STREAM] = b"stream"
    row.rdb_bytes = 1 << RDB_STREAM | 1 << RDB_STREAM_2 | 1 << RDB_STREAM_3 | <uint64_t>1 << RDB_STREAM_IDMP
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = _check
    row.load_fn = stream_load
    row.dialect_fn = _dialect
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    row.prefetch_fn = _prefetch
    type_register(e, OBJ_STREAM)
