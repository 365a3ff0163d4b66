"""A data type that only tests have: a bag, which counts how often each member was added. Not part of wheels.

It shows what a type takes: this file, and the call of `plug_bag` where others have a line in the facade. A command that
adds, `BAGADD key member ...`, and some that wait, as those of lists and streams do; everything else (TYPE, COPY, DUMP,
files, snapshots, lazy freeing ...) follows from the row.

A bag is a table of members (ds/hashtable), whatever its size; up to SMALL_MAX members OBJECT ENCODING calls it a
listpack. Held by a snapshot, the table is frozen chain by chain, as the tables of hashes, sets and sorted sets will be.
A member longer than LONG bytes stands for a form that only the newer dialect has.

RDB: type byte, count of members, then member and its count; 41 instead of 40 if a member is long.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.digest cimport DIGEST_BYTES, digest_add, digest_mix
from cachefleet_server.core.engine cimport arg_t, client_t, engine_t, rdb_in_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport (
    ENC_HASHTABLE, ENC_LISTPACK, entry_key, entry_new_pointer, entry_payload, entry_set_encoding, entry_t)
from cachefleet_server.core.rdb cimport (
    RDB_DIALECT_REDIS70, RDB_DIALECT_VALKEY, rdb_get_length, rdb_put_length, rdb_put_string, rdb_view_string)
from cachefleet_server.core.reply cimport (
    arg_int64, reply_array, reply_bulk, reply_error, reply_int, reply_null, reply_null_array)
from cachefleet_server.core.types cimport SAVE_STEP, save_out, type_register, type_row
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.hashtable cimport (
    hashtable_t, ht_bucket_each, ht_bucket_t, ht_find, ht_free, ht_hash, ht_insert, ht_len, ht_memory, ht_new,
    ht_remove, ht_scan, ht_announce)
from cachefleet_server.ds.ht_checking cimport ht_check
from cachefleet_server.ds.ht_freezing cimport ht_freeze_begin, ht_freeze_end, ht_freeze_step
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_usable_size
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars
from cachefleet_server.ds.zmalloc cimport heap_t, zfree, zmalloc
from cachefleet_server.engine cimport Engine
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, arg_hash, db_insert, delete_if_empty, key_changed, lookup_read, lookup_write, type_or_reply)
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_rewrite, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.keyspace.lazyfree cimport entry_free
from cachefleet_server.keyspace.waiting cimport WAIT_ON_NOKEY, wait_for_keys
from cachefleet_server.resp.command cimport command_header, command_word

cdef enum:
    OBJ_BAG = 7
    SMALL_MAX = 16  # members
    LONG = 255  # bytes
    RDB_BAG = 40
    RDB_LONG_BAG = 41
    STEP_CHAINS = 64  # chains that one step of saving delivers at most

cdef struct bag_t:
    size_t owners
    hashtable_t* members
    uint64_t copies  # of all members
    size_t bytes  # of the members, as the allocator rounds them
    bint long  # holds a member longer than LONG

cdef struct member_t:
    uint32_t copies
    uint32_t len
    char data[0]


# ---- the structure -------------------------------------------------------------------------------

cdef const char* _key_of(const void* element, size_t* n) noexcept nogil:
    n[0] = (<const member_t*>element).len
    return &(<const member_t*>element).data[0]


cdef inline bag_t* _bag(const entry_t* entry) noexcept nogil:
    return <bag_t*>entry_payload(entry)[0]


cdef bag_t* _new(engine_t* e) noexcept nogil:
    cdef bag_t* bag = <bag_t*>zmalloc(e.heap, sizeof(bag_t))
    bag.owners = 1
    bag.members = ht_new(e.heap, _key_of, &e.seed)
    bag.copies = 0
    bag.bytes = 0
    bag.long = False
    return bag


cdef void _add(engine_t* e, bag_t* bag, const char* p, size_t n, uint32_t copies) noexcept nogil:
    cdef uint64_t hash = ht_hash(bag.members, p, n)
    cdef member_t* member = <member_t*>ht_find(bag.members, p, n, hash)
    bag.copies += copies
    if member != NULL:
        ht_announce(bag.members, hash)
        member.copies += copies
        return
    member = <member_t*>zmalloc(e.heap, sizeof(member_t) + n)
    member.copies = copies
    member.len = <uint32_t>n
    memcpy(&member.data[0], p, n)
    bag.bytes += cf_usable_size(member)
    ht_insert(bag.members, member, hash)
    if n > LONG and not bag.long:
        bag.long = True
        cf_atomic_add(&e.types[OBJ_BAG].newer, 1)


cdef entry_t* _entry(engine_t* e, bag_t* bag, const char* key, size_t nk, int64_t expire_ms) noexcept nogil:
    cdef entry_t* entry = entry_new_pointer(e.heap, key, nk, OBJ_BAG, ENC_LISTPACK, bag, expire_ms)
    _label(entry)
    return entry


cdef void _label(entry_t* entry) noexcept nogil:
    if ht_len(_bag(entry).members) > SMALL_MAX:
        entry_set_encoding(entry, ENC_HASHTABLE)


cdef void _free_member(void* ctx, void* element) noexcept nogil:
    zfree(<heap_t*>ctx, element)


# ---- the row -------------------------------------------------------------------------------------

cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    cdef bag_t* bag = _bag(entry)
    if bag.long:
        cf_atomic_add(&ops.newer, 0 - <size_t>1)
    bag.members.heap = h
    ht_free(bag.members, _free_member, h)
    zfree(h, bag)


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    return ht_len(_bag(entry).members)


cdef struct copy_t:
    engine_t* engine
    bag_t* bag


cdef void _copy_member(void* ctx, void* element) noexcept nogil:
    cdef const member_t* member = <const member_t*>element
    _add((<copy_t*>ctx).engine, (<copy_t*>ctx).bag, &member.data[0], member.len, member.copies)


cdef entry_t* _dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    cdef copy_t copy
    copy.engine = e
    copy.bag = _new(e)
    _each(_bag(entry), _copy_member, &copy)
    return _entry(e, copy.bag, key, nk, -1)


cdef void _each(bag_t* bag, void (*fn)(void*, void*) noexcept nogil, void* ctx) noexcept nogil:
    cdef uint64_t cursor = ht_scan(bag.members, 0, fn, ctx)
    while cursor:
        cursor = ht_scan(bag.members, cursor, fn, ctx)


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    return cf_usable_size(_bag(entry)) + ht_memory(_bag(entry).members) + _bag(entry).bytes


cdef void _digest_member(void* ctx, void* element) noexcept nogil:
    cdef const member_t* member = <const member_t*>element
    cdef uint8_t digest[DIGEST_BYTES]
    cdef char digits[INT64_CHARS_MAX]
    cdef int i
    for i in range(DIGEST_BYTES):
        digest[i] = 0
    digest_mix(digest, &member.data[0], member.len)
    digest_mix(digest, digits, int64_to_chars(digits, member.copies))
    digest_add(<uint8_t*>ctx, digest, DIGEST_BYTES)


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    _each(_bag(entry), _digest_member, digest)


cdef void _count_member(void* ctx, void* element) noexcept nogil:
    (<uint64_t*>ctx)[0] += (<const member_t*>element).copies


cdef int _check(engine_t* e, const entry_t* entry) noexcept nogil:
    """1: copies; 2: empty; 10 + n: the table."""
    cdef bag_t* bag = _bag(entry)
    cdef uint64_t copies = 0
    cdef int wrong = ht_check(bag.members)
    if wrong:
        return 10 + wrong
    _each(bag, _count_member, &copies)
    if copies != bag.copies:
        return 1
    return 2 if copies == 0 else 0


cdef entry_t* _load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef uint64_t left = rdb_get_length(in_, NULL)
    cdef bag_t* bag = _new(e)
    cdef entry_t* entry
    cdef const char* p
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef uint64_t copies
    while left and in_.error == NULL:
        p = rdb_view_string(in_, &n, &owned)
        copies = rdb_get_length(in_, NULL)
        if in_.error == NULL and copies and copies >> 32 == 0:
            _add(e, bag, p, n, <uint32_t>copies)
        elif in_.error == NULL:
            in_.error = b"a member without copies"
            in_.error_at = in_.p
        zfree(in_.heap, owned)
        left -= 1
    entry = _entry(e, bag, key, nk, expire_ms)
    if in_.error != NULL or bag.copies == 0:
        entry_free(e, entry)
        return NULL
    return entry


cdef int _dialect(const entry_t* entry) noexcept nogil:
    return RDB_DIALECT_VALKEY if _bag(entry).long else RDB_DIALECT_REDIS70


cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    return RDB_LONG_BAG if _bag(entry).long else RDB_BAG


# ---- saving --------------------------------------------------------------------------------------

cdef size_t _save_size(const entry_t* entry) noexcept nogil:
    return _bag(entry).bytes


cdef void _save_begin(save_t* s) noexcept nogil:
    cdef bag_t* bag = _bag(s.entry)
    s.count = ht_len(bag.members)
    if s.held:
        ht_freeze_begin(bag.members, _save_chain, s)


cdef void _save_chain(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    """Of a held bag: in a step, or before the write that changes this chain."""
    cdef save_t* s = <save_t*>ctx
    cdef rdb_out_t* out = save_out(s)
    cdef size_t before
    if out == NULL:
        return
    before = out.buf.len
    if s.commands:
        _begin_command(s, out, head)
        ht_bucket_each(head, _put_words, &out.buf)
    else:
        ht_bucket_each(head, _put_member, out)
    s.written += out.buf.len - before


cdef void _begin_command(save_t* s, rdb_out_t* out, ht_bucket_t* head) noexcept nogil:
    cdef uint64_t words = 2
    cdef size_t nk
    cdef const char* key = entry_key(s.entry, &nk)
    ht_bucket_each(head, _count_member, &words)
    command_header(&out.buf, c"*", words)
    command_word(&out.buf, b"BAGADD", 6)
    command_word(&out.buf, key, nk)


cdef void _put_words(void* ctx, void* element) noexcept nogil:
    cdef const member_t* member = <const member_t*>element
    cdef uint32_t _i
    for _i in range(member.copies):
        command_word(<buf_t*>ctx, &member.data[0], member.len)


cdef void _put_member(void* ctx, void* element) noexcept nogil:
    cdef const member_t* member = <const member_t*>element
    rdb_put_string(<rdb_out_t*>ctx, &member.data[0], member.len)
    rdb_put_length(<rdb_out_t*>ctx, member.copies)


cdef void _save_single(void* ctx, void* element) noexcept nogil:
    """Of a bag that nobody changes meanwhile."""
    cdef save_t* s = <save_t*>ctx
    cdef rdb_out_t* out = save_out(s)
    cdef size_t nk
    cdef const char* key = entry_key(s.entry, &nk)
    if not s.commands:
        _put_member(out, element)
        return
    command_header(&out.buf, c"*", 2 + (<const member_t*>element).copies)
    command_word(&out.buf, b"BAGADD", 6)
    command_word(&out.buf, key, nk)
    _put_words(&out.buf, element)


cdef bint _save_step(save_t* s) noexcept nogil:
    cdef bag_t* bag = _bag(s.entry)
    cdef int chains = STEP_CHAINS
    if not s.counted:
        s.counted = True
        if not s.commands:
            rdb_put_length(save_out(s), s.count)
    if not s.held:
        s.place = ht_scan(bag.members, s.place, _save_single, s)
        return s.place != 0
    while chains and s.written < SAVE_STEP:
        chains -= 1
        if not ht_freeze_step(bag.members, &s.place, 1):
            return False
    return True


cdef void _save_end(save_t* s) noexcept nogil:
    if s.held:
        ht_freeze_end(_bag(s.entry).members)


# ---- the command ---------------------------------------------------------------------------------

cdef void bagadd_command(client_t* c) noexcept nogil:
    """BAGADD key member ...: how many there are now."""
    cdef engine_t* e = c.engine
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef int i
    if not type_or_reply(c, entry, OBJ_BAG):
        return
    if entry == NULL:
        entry = _entry(e, _new(e), key.ptr, key.len, -1)
        db_insert(c.db, entry, arg_hash(e, key))
    for i in range(2, c.argc):
        _add(e, _bag(entry), c.argv[i].ptr, c.argv[i].len, 1)
    _label(entry)
    key_changed(c, c.db, NOTIFY_GENERIC, b"bagadd", key)
    reply_int(c, _bag(entry).copies)


cdef void _first_member(void* ctx, void* element) noexcept nogil:
    (<member_t**>ctx)[0] = <member_t*>element


cdef void _remove(engine_t* e, bag_t* bag, member_t* member) noexcept nogil:
    """One copy of a member that is there."""
    cdef uint64_t hash = ht_hash(bag.members, &member.data[0], member.len)
    bag.copies -= 1
    if member.copies > 1:
        ht_announce(bag.members, hash)
        member.copies -= 1
        return
    bag.bytes -= cf_usable_size(member)
    ht_remove(bag.members, &member.data[0], member.len, hash)
    zfree(e.heap, member)


cdef arg_t _take(client_t* c, arg_t* key, entry_t* entry) noexcept nogil:
    """Removes a copy of some member, says so, and journals what it was. The name is the caller's, to be freed."""
    cdef engine_t* e = c.engine
    cdef bag_t* bag = _bag(entry)
    cdef member_t* member = NULL
    cdef uint64_t cursor = 0
    cdef arg_t argv[3]
    while member == NULL:
        cursor = ht_scan(bag.members, cursor, _first_member, &member)
    argv[0] = journal_arg(b"BAGREM", 6)
    argv[1] = key[0]
    argv[2] = journal_arg(<char*>zmalloc(e.heap, member.len + 1), member.len)
    memcpy(<char*>argv[2].ptr, &member.data[0], member.len)
    _remove(e, bag, member)
    delete_if_empty(c, key, bag.copies)
    key_changed(c, c.db, NOTIFY_GENERIC, b"bagrem", key)
    journal_rewrite(c, 3, argv)
    return argv[2]


cdef bint _until_or_reply(client_t* c, const arg_t* a, int64_t* until_ms) noexcept nogil:
    """Milliseconds; 0 = for ever."""
    if not arg_int64(c, a, until_ms):
        return False
    if until_ms[0]:
        until_ms[0] += c.engine.now_ms
    return True


cdef void _nothing_came(client_t* c, bint timed_out) noexcept nogil:
    reply_null_array(c)


cdef void bbagpop_command(client_t* c) noexcept nogil:
    """BBAGPOP key ... milliseconds: the first key that holds something, and a member."""
    cdef int64_t until_ms
    cdef entry_t* entry
    cdef arg_t member
    cdef int i
    if not _until_or_reply(c, &c.argv[c.argc - 1], &until_ms):
        return
    for i in range(1, c.argc - 1):
        entry = lookup_write(c, &c.argv[i])
        if entry == NULL:
            continue
        if type_or_reply(c, entry, OBJ_BAG):
            member = _take(c, &c.argv[i], entry)
            reply_array(c, 2)
            reply_bulk(c, c.argv[i].ptr, c.argv[i].len)
            reply_bulk(c, member.ptr, member.len)
            zfree(c.engine.heap, <void*>member.ptr)
        return
    if not wait_for_keys(c, &c.argv[1], c.argc - 2, OBJ_BAG, 0, until_ms, _nothing_came):
        reply_null_array(c)


cdef void bbagmove_command(client_t* c) noexcept nogil:
    """BBAGMOVE from to milliseconds: the member that was moved."""
    cdef engine_t* e = c.engine
    cdef arg_t* to = &c.argv[2]
    cdef int64_t until_ms
    cdef entry_t* entry = lookup_write(c, &c.argv[1])
    cdef entry_t* target
    cdef arg_t argv[3]
    if not type_or_reply(c, entry, OBJ_BAG) or not _until_or_reply(c, &c.argv[3], &until_ms):
        return
    if entry == NULL:
        if not wait_for_keys(c, &c.argv[1], 1, OBJ_BAG, 0, until_ms, _nothing_came):
            reply_null(c)
        return
    if not type_or_reply(c, lookup_write(c, to), OBJ_BAG):
        return
    journal_transaction_begin(e)
    argv[0] = journal_arg(b"BAGADD", 6)
    argv[1] = to[0]
    argv[2] = _take(c, &c.argv[1], entry)
    target = lookup_write(c, to)
    if target == NULL:
        target = _entry(e, _new(e), to.ptr, to.len, -1)
        db_insert(c.db, target, arg_hash(e, to))
    _add(e, _bag(target), argv[2].ptr, argv[2].len, 1)
    _label(target)
    key_changed(c, c.db, NOTIFY_GENERIC, b"bagadd", to)
    journal_rewrite(c, 3, argv)
    journal_transaction_end(e)
    reply_bulk(c, argv[2].ptr, argv[2].len)
    zfree(e.heap, <void*>argv[2].ptr)


cdef void bbagcount_command(client_t* c) noexcept nogil:
    """BBAGCOUNT key copies milliseconds: how many there are, once there are so many. As XREADGROUP, it does not wait
    for a key that is not there, and not on when it goes."""
    cdef int64_t until_ms, copies
    cdef entry_t* entry = lookup_read(c, &c.argv[1])
    if not arg_int64(c, &c.argv[2], &copies) or not _until_or_reply(c, &c.argv[3], &until_ms):
        return
    if entry == NULL:
        reply_error(c, b"NOGROUP no such bag")
    elif not type_or_reply(c, entry, OBJ_BAG):
        pass
    elif <int64_t>_bag(entry).copies >= copies:
        reply_int(c, _bag(entry).copies)
    elif not wait_for_keys(c, &c.argv[1], 1, OBJ_BAG, WAIT_ON_NOKEY, until_ms, _nothing_came):
        reply_null_array(c)


cdef void bagrem_command(client_t* c) noexcept nogil:
    """BAGREM key member: one copy."""
    cdef arg_t* key = &c.argv[1]
    cdef entry_t* entry = lookup_write(c, key)
    cdef bag_t* bag
    cdef member_t* member
    if not type_or_reply(c, entry, OBJ_BAG):
        return
    if entry == NULL:
        reply_int(c, 0)
        return
    bag = _bag(entry)
    member = <member_t*>ht_find(
        bag.members, c.argv[2].ptr, c.argv[2].len, ht_hash(bag.members, c.argv[2].ptr, c.argv[2].len))
    if member != NULL:
        _remove(c.engine, bag, member)
        delete_if_empty(c, key, bag.copies)
        key_changed(c, c.db, NOTIFY_GENERIC, b"bagrem", key)
    reply_int(c, member != NULL)


def plug_bag(Engine engine):
    """The type's row and its command's."""
    cdef engine_t* e = engine.ptr
    cdef type_ops_t* row = type_row(e, OBJ_BAG)
    row.name = b"bag"
    row.encodings[ENC_LISTPACK] = b"listpack"
    row.encodings[ENC_HASHTABLE] = b"hashtable"
    row.rdb_bytes = <uint64_t>1 << RDB_BAG | <uint64_t>1 << RDB_LONG_BAG
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.check_fn = _check
    row.load_fn = _load
    row.dialect_fn = _dialect
    row.rdb_type_fn = _rdb_type
    row.save_size_fn = _save_size
    row.save_begin_fn = _save_begin
    row.save_step_fn = _save_step
    row.save_end_fn = _save_end
    type_register(e, OBJ_BAG)
    command_row(e, bagadd_command, "bagadd", -3, "write denyoom", "keyspace", "1 RW insert",
                "generic 1.0.0 O(N)", "Adds members to a bag.", "key:key member:string...")
    command_row(e, bagrem_command, "bagrem", 3, "write", "keyspace", "1 RW delete",
                "generic 1.0.0 O(1)", "Removes a member.", "key:key member:string")
    command_row(e, bbagpop_command, "bbagpop", -3, "write blocking", "keyspace", "1:-2 RW access delete",
                "generic 1.0.0 O(N)", "Waits for a member, and removes it.", "key:key... timeout:integer")
    command_row(e, bbagmove_command, "bbagmove", 4, "write denyoom blocking", "keyspace",
                "1 RW access delete; 2 RW insert", "generic 1.0.0 O(1)", "Waits for a member, and moves it.",
                "from:key to:key timeout:integer")
    command_row(e, bbagcount_command, "bbagcount", 4, "readonly blocking", "keyspace", "1 RO access",
                "generic 1.0.0 O(1)", "Waits until a bag holds so many.", "key:key copies:integer timeout:integer")


def newer(Engine engine):
    """Values alive that need the newer dialect."""
    return engine.ptr.types[OBJ_BAG].newer
