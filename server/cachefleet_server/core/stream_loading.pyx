"""Streams of files; see stream_loading.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.core.entry cimport ENC_STREAM, OBJ_STREAM, entry_new_pointer
from cachefleet_server.core.rdb cimport (
    RDB_ERROR_TYPE, RDB_VERSION_OWN, rdb_get_int64, rdb_get_length, rdb_refuse, rdb_view_string)
from cachefleet_server.ds.idtree cimport idt_find, idt_put, sid_less, sid_t
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_bswap64, cf_load64
from cachefleet_server.ds.stream cimport (
    stream_add_block, stream_edge, stream_group_add, stream_group_find, stream_new, stream_read_count, stream_release,
    stream_t)
from cachefleet_server.ds.stream_group cimport (
    GROUP_READ_UNKNOWN, group_add, group_find, group_new, pending_set, sconsumer_t, sgroup_t, spending_t)
from cachefleet_server.ds.stream_idmp cimport (
    IDMP_DURATION_S_MAX, IDMP_MOST_MAX, idmp_add, idmp_find, idmp_own, sidmp_t)
from cachefleet_server.ds.zmalloc cimport zfree

cdef enum:
    NOBODY = 0xFFFFFFFF  # instead of a consumer's number, until its list is read
    NAME_MAX = 0xFFFFFFFF


cdef void _get_id(rdb_in_t* in_, sid_t* id) noexcept nogil:
    id.ms = rdb_get_length(in_, NULL)
    id.seq = rdb_get_length(in_, NULL)


cdef void _get_raw_id(rdb_in_t* in_, sid_t* id) noexcept nogil:
    id.ms = cf_bswap64(<uint64_t>rdb_get_int64(in_))
    id.seq = cf_bswap64(<uint64_t>rdb_get_int64(in_))


cdef void _load_block(engine_t* e, rdb_in_t* in_, stream_t* s) noexcept nogil:
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef sid_t master
    cdef const char* p = rdb_view_string(in_, &n, &owned)
    if in_.error != NULL:
        return
    if n == sizeof(sid_t):
        master.ms = cf_bswap64(cf_load64(p))
        master.seq = cf_bswap64(cf_load64(p + 8))
    zfree(in_.heap, owned)
    if n != sizeof(sid_t):
        rdb_refuse(in_, b"a stream's block without an id")
        return
    owned = NULL
    p = rdb_view_string(in_, &n, &owned)
    if in_.error == NULL and not stream_add_block(e.heap, s, &master, p, n):
        rdb_refuse(in_, b"corrupt block of a stream")
    zfree(in_.heap, owned)


cdef void _load_numbers(rdb_in_t* in_, int type_byte, stream_t* s) noexcept nogil:
    cdef uint64_t length = rdb_get_length(in_, NULL)
    cdef sid_t last, ignored
    _get_id(in_, &last)
    stream_edge(s, False, &s.first)
    s.added = length
    if type_byte != RDB_STREAM:
        _get_id(in_, &ignored)  # the first id, which the blocks have told
        _get_id(in_, &s.max_deleted)
        s.added = rdb_get_length(in_, NULL)
    if in_.error == NULL and (length != s.length or sid_less(&last, &s.last)):
        rdb_refuse(in_, b"a stream's length or last id that its entries do not have")
    s.last = last


cdef void _load_pending(engine_t* e, rdb_in_t* in_, sgroup_t* g) noexcept nogil:
    cdef uint64_t left = rdb_get_length(in_, NULL)
    cdef spending_t* entry
    cdef int64_t when, times
    cdef sid_t id
    cdef bint is_new
    while left and in_.error == NULL:
        _get_raw_id(in_, &id)
        when = rdb_get_int64(in_)
        times = <int64_t>rdb_get_length(in_, NULL)
        if in_.error != NULL:
            return
        entry = <spending_t*>idt_put(e.heap, &g.pending, &id, &is_new)
        entry.consumer = NOBODY
        pending_set(g, entry, when, times)
        if not is_new:
            rdb_refuse(in_, b"an entry that is pending twice in a stream's group")
        left -= 1


cdef sconsumer_t* _load_name(engine_t* e, rdb_in_t* in_, sgroup_t* g) noexcept nogil:
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef uint32_t place
    cdef sconsumer_t* consumer = NULL
    cdef const char* name = rdb_view_string(in_, &n, &owned)
    if in_.error != NULL:
        return NULL
    if n >= NAME_MAX or group_find(g, name, n, &place) >= 0:
        rdb_refuse(in_, b"a consumer twice in a stream's group")
    else:
        consumer = group_add(e.heap, g, name, n, 0)
    zfree(in_.heap, owned)
    return consumer


cdef size_t _load_consumer(engine_t* e, rdb_in_t* in_, int type_byte, sgroup_t* g) noexcept nogil:
    """How many entries it has pending."""
    cdef sconsumer_t* consumer = _load_name(e, in_, g)
    cdef spending_t* entry
    cdef uint64_t left
    cdef sid_t id
    cdef bint is_new
    if consumer == NULL:
        return 0
    consumer.seen_ms = rdb_get_int64(in_)
    consumer.active_ms = rdb_get_int64(in_) if type_byte >= RDB_STREAM_3 else consumer.seen_ms
    left = rdb_get_length(in_, NULL)
    while left and in_.error == NULL:
        _get_raw_id(in_, &id)
        entry = <spending_t*>idt_find(&g.pending, &id)
        if entry == NULL or entry.consumer != NOBODY:
            rdb_refuse(in_, b"a consumer's entry that is not pending in its stream's group")
            break
        entry.consumer = consumer.number
        idt_put(e.heap, &consumer.pending, &id, &is_new)
        left -= 1
    return consumer.pending.count


cdef sgroup_t* _load_group_head(engine_t* e, rdb_in_t* in_, int type_byte, stream_t* s) noexcept nogil:
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef uint32_t place
    cdef int64_t read = GROUP_READ_UNKNOWN
    cdef sgroup_t* g = NULL
    cdef sid_t last
    cdef const char* name = rdb_view_string(in_, &n, &owned)
    if in_.error != NULL:
        return NULL
    _get_id(in_, &last)
    if type_byte != RDB_STREAM:
        read = <int64_t>rdb_get_length(in_, NULL)
    else:
        read = stream_read_count(s, &last)
    if in_.error == NULL and (n >= NAME_MAX or stream_group_find(s, name, n, &place) >= 0):
        rdb_refuse(in_, b"a group twice in a stream")
    if in_.error == NULL:
        g = group_new(e.heap, name, n, &last, read)
        stream_group_add(e.heap, s, place, g)
    zfree(in_.heap, owned)
    return g


cdef void _load_group(engine_t* e, rdb_in_t* in_, int type_byte, stream_t* s) noexcept nogil:
    cdef sgroup_t* g = _load_group_head(e, in_, type_byte, s)
    cdef uint64_t left
    cdef size_t owned = 0
    if g == NULL:
        return
    _load_pending(e, in_, g)
    left = rdb_get_length(in_, NULL)
    while left and in_.error == NULL:
        owned += _load_consumer(e, in_, type_byte, g)
        left -= 1
    if in_.error == NULL and owned != g.pending.count:
        rdb_refuse(in_, b"a pending entry of a stream's group without a consumer")


cdef void _load_iid(engine_t* e, rdb_in_t* in_, sidmp_t* m, const char* name, size_t nn) noexcept nogil:
    """As nothing is over at the time 0, all are kept."""
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef int64_t when
    cdef sid_t id
    cdef const char* text = rdb_view_string(in_, &n, &owned)
    _get_raw_id(in_, &id)
    when = rdb_get_int64(in_)
    if in_.error == NULL and (n == 0 or n >= NAME_MAX or when < 0 or idmp_find(m, name, nn, text, n, 0) != NULL):
        rdb_refuse(in_, b"a producer's message that is none or comes twice")
    if in_.error == NULL:
        idmp_add(e.heap, m, name, nn, text, n, &id, when, 0)
    zfree(in_.heap, owned)


cdef void _load_producer(engine_t* e, rdb_in_t* in_, sidmp_t* m) noexcept nogil:
    cdef char* owned = NULL
    cdef size_t n = 0
    cdef const char* name = rdb_view_string(in_, &n, &owned)
    cdef uint64_t left = rdb_get_length(in_, NULL)
    if in_.error == NULL and (n == 0 or n >= NAME_MAX or left == 0 or left > m.most):
        rdb_refuse(in_, b"a stream's producer without a name, or with too little or too much")
    while left and in_.error == NULL:
        _load_iid(e, in_, m, name, n)
        left -= 1
    zfree(in_.heap, owned)


cdef void _load_idmp(engine_t* e, rdb_in_t* in_, stream_t* s) noexcept nogil:
    cdef uint64_t duration = rdb_get_length(in_, NULL)
    cdef uint64_t most = rdb_get_length(in_, NULL)
    cdef uint64_t left
    cdef sidmp_t* m
    if in_.error == NULL and (not 0 < duration <= IDMP_DURATION_S_MAX or not 0 < most <= IDMP_MOST_MAX):
        rdb_refuse(in_, b"settings of a stream's producers that cannot be")
    if in_.error != NULL:
        return
    m = idmp_own(e.heap, &s.idmp)
    m.duration_s = <uint32_t>duration
    m.most = <uint32_t>most
    m.added = rdb_get_length(in_, NULL)
    m.duplicates = rdb_get_length(in_, NULL)
    left = rdb_get_length(in_, NULL)
    while left and in_.error == NULL:
        _load_producer(e, in_, m)
        left -= 1


cdef entry_t* stream_load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    cdef stream_t* s
    cdef uint64_t left
    if type_byte == RDB_STREAM_IDMP and in_.version != RDB_VERSION_OWN:
        in_.unsupported = type_byte
        rdb_refuse(in_, RDB_ERROR_TYPE)
        return NULL
    s = stream_new(e.heap)
    left = rdb_get_length(in_, NULL)
    while left and in_.error == NULL:
        _load_block(e, in_, s)
        left -= 1
    if in_.error == NULL:
        _load_numbers(in_, type_byte, s)
    left = rdb_get_length(in_, NULL)
    while left and in_.error == NULL:
        _load_group(e, in_, type_byte, s)
        left -= 1
    if in_.error == NULL and type_byte == RDB_STREAM_IDMP:
        _load_idmp(e, in_, s)
    if in_.error != NULL:
        stream_release(e.heap, s)
        return NULL
    if s.idmp != NULL:
        cf_atomic_add(&e.types[OBJ_STREAM].newer, 1)
    return entry_new_pointer(e.heap, key, nk, OBJ_STREAM, ENC_STREAM, s, expire_ms)
