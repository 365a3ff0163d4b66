"""Data types: registration, names, and the saving of a value; contracts in types.pxd."""

from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort
from libc.string cimport strlen

from cachefleet_server.core.entry cimport (
    OBJ_HASH, OBJ_LIST, OBJ_SET, OBJ_STREAM, OBJ_TYPES, OBJ_ZSET, entry_encoding, entry_expire, entry_key, entry_lru,
    entry_new_pointer, entry_set_lru)
from cachefleet_server.core.hash_type cimport register_hash_type
from cachefleet_server.core.list_type cimport register_list_type
from cachefleet_server.core.set_type cimport register_set_type
from cachefleet_server.core.stream_type cimport register_stream_type
from cachefleet_server.core.string_type cimport register_string_type
from cachefleet_server.core.zset_type cimport register_zset_type

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* a, const char* b, size_t n)

cdef enum:
    RDB_BYTES = 64


cdef void types_init(engine_t* e) noexcept nogil:
    e.types[OBJ_LIST].name = b"list"
    e.types[OBJ_SET].name = b"set"
    e.types[OBJ_ZSET].name = b"zset"
    e.types[OBJ_HASH].name = b"hash"
    e.types[OBJ_STREAM].name = b"stream"
    register_string_type(e)
    register_list_type(e)
    register_hash_type(e)
    register_set_type(e)
    register_zset_type(e)
    register_stream_type(e)


cdef void type_register(engine_t* e, int type) noexcept nogil:
    cdef type_ops_t* row = &e.types[type]
    cdef int i
    if (row.name == NULL or row.rdb_bytes == 0 or row.free_fn == NULL or row.effort_fn == NULL or row.dup_fn == NULL
            or row.memory_fn == NULL or row.digest_fn == NULL or row.load_fn == NULL or row.rdb_type_fn == NULL
            or row.save_step_fn == NULL):
        fprintf(stderr, b"the row of data type %d is not complete\n", type)
        abort()
    for i in range(RDB_BYTES):
        if row.rdb_bytes >> i & 1:
            e.rdb_readers[i] = row


cdef int type_named(engine_t* e, const char* name, size_t n) noexcept nogil:
    cdef int type
    for type in range(OBJ_TYPES):
        if e.types[type].name != NULL and strlen(e.types[type].name) == n and strncasecmp(
                e.types[type].name, name, n) == 0:
            return type
    return -1


cdef const char* entry_encoding_name(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef const char* name = entry_ops(e, entry).encodings[entry_encoding(entry)]
    if name == NULL:
        return b"unknown"
    return name


cdef entry_t* entry_share(engine_t* e, const entry_t* entry) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    cdef entry_t* other = entry_new_pointer(
        e.heap, key, nk, entry_type(entry), entry_encoding(entry), entry_payload(entry)[0], entry_expire(entry))
    entry_set_lru(other, entry_lru(entry))
    cf_ref_add(_owners(entry))
    return other


# ---- saving ------------------------------------------------------------------------------------------

cdef void save_init(save_t* s, engine_t* e, const entry_t* entry, rdb_out_t* out, bint commands) noexcept nogil:
    s.engine = e
    s.entry = entry
    s.out = out
    s.out_fn = NULL
    s.commands = commands
    s.held = False
    s.rdb_type = -1
    s.written = 0
    s.counted = False
    s.count = 0
    s.place = 0
    s.state = NULL


cdef void save_begin(save_t* s) noexcept nogil:
    cdef type_ops_t* ops = entry_ops(s.engine, s.entry)
    if s.out != NULL and not s.commands:  # else it has been chosen, by who knows the dialect
        s.rdb_type = ops.rdb_type_fn(s.entry, s.out.dialect)
    if ops.save_begin_fn != NULL:
        ops.save_begin_fn(s)


cdef bint save_step(save_t* s) noexcept nogil:
    s.written = 0
    return entry_ops(s.engine, s.entry).save_step_fn(s)


cdef void save_end(save_t* s) noexcept nogil:
    cdef type_ops_t* ops = entry_ops(s.engine, s.entry)
    if ops.save_end_fn != NULL:
        ops.save_end_fn(s)


cdef void save_whole(engine_t* e, const entry_t* entry, rdb_out_t* out, bint commands) noexcept nogil:
    cdef save_t s
    save_init(&s, e, entry, out, commands)
    save_begin(&s)
    while save_step(&s):
        pass
    save_end(&s)
