"""See stream_idmp.pxd."""

from libc.string cimport memcmp, memcpy, memmove

from cachefleet_server.ds.checksum cimport xxh3_64
from cachefleet_server.ds.intrin cimport cf_ref_add, cf_ref_drop, cf_ref_get
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc, zrealloc

cdef enum:
    ROOM_LEAST = 4
    LOOKS = 2  # at producers, for each id that comes

# ---- owners ------------------------------------------------------------------------------------------

cdef sidmp_t* idmp_new(heap_t* h) noexcept nogil:
    cdef sidmp_t* m = <sidmp_t*>zcalloc(h, sizeof(sidmp_t))
    m.refs = 1
    m.duration_s = IDMP_DURATION_S
    m.most = IDMP_MOST
    return m


cdef sproducer_t* _producer_new(heap_t* h, const char* name, size_t n) noexcept nogil:
    cdef sproducer_t* p = <sproducer_t*>zcalloc(h, sizeof(sproducer_t) + n)
    p.refs = 1
    p.name_len = <uint32_t>n
    memcpy(&p.name[0], name, n)
    return p


cdef void _producer_release(heap_t* h, sproducer_t* p) noexcept nogil:
    cdef uint32_t i
    if not cf_ref_drop(&p.refs):
        return
    for i in range(p.len):
        zfree(h, idmp_at(p, i).text)
    zfree(h, p.ring)
    zfree(h, p.buckets)
    zfree(h, p)


cdef void idmp_clear(heap_t* h, sidmp_t* m) noexcept nogil:
    cdef uint32_t i
    for i in range(m.len):
        _producer_release(h, m.producers[i])
    m.len = 0


cdef void idmp_release(heap_t* h, sidmp_t* m) noexcept nogil:
    if m == NULL or not cf_ref_drop(&m.refs):
        return
    idmp_clear(h, m)
    zfree(h, m.producers)
    zfree(h, m)


cdef sidmp_t* idmp_own(heap_t* h, sidmp_t** place) noexcept nogil:
    cdef sidmp_t* m = place[0]
    cdef sidmp_t* new
    cdef uint32_t i
    if m == NULL:
        place[0] = idmp_new(h)
        return place[0]
    if cf_ref_get(&m.refs) == 1:
        return m
    new = <sidmp_t*>zmalloc(h, sizeof(sidmp_t))
    new[0] = m[0]
    new.refs = 1
    new.room = m.len
    new.producers = NULL
    if m.len:
        new.producers = <sproducer_t**>zmalloc(h, m.len * sizeof(sproducer_t*))
    for i in range(m.len):
        new.producers[i] = m.producers[i]
        cf_ref_add(&m.producers[i].refs)
    place[0] = new
    idmp_release(h, m)  # the other owner may have let go meanwhile
    return new

# ---- a producer --------------------------------------------------------------------------------------

cdef inline void _link(sproducer_t* p, uint32_t place) noexcept nogil:
    cdef uint32_t* bucket = &p.buckets[p.ring[place].hash & (p.room - 1)]
    p.ring[place].next = bucket[0]
    bucket[0] = place + 1


cdef void _set_room(heap_t* h, sproducer_t* p, uint32_t room) noexcept nogil:
    cdef siid_t* ring = <siid_t*>zmalloc(h, room * sizeof(siid_t))
    cdef uint32_t i
    for i in range(p.len):
        ring[i] = idmp_at(p, i)[0]
    zfree(h, p.ring)
    zfree(h, p.buckets)
    p.ring = ring
    p.buckets = <uint32_t*>zcalloc(h, room * sizeof(uint32_t))
    p.room = room
    p.first = 0
    for i in range(p.len):
        _link(p, i)


cdef sproducer_t* _own(heap_t* h, sproducer_t** place) noexcept nogil:
    cdef sproducer_t* p = place[0]
    cdef sproducer_t* new
    cdef const siid_t* iid
    cdef uint32_t i
    if cf_ref_get(&p.refs) == 1:
        return p
    new = _producer_new(h, &p.name[0], p.name_len)
    _set_room(h, new, p.room)
    for i in range(p.len):
        iid = idmp_at(p, i)
        new.ring[i] = iid[0]
        new.ring[i].text = <char*>zmalloc(h, iid.len)
        memcpy(new.ring[i].text, iid.text, iid.len)
        _link(new, i)
    new.len = p.len
    place[0] = new
    _producer_release(h, p)
    return new


cdef void _drop_oldest(heap_t* h, sproducer_t* p) noexcept nogil:
    cdef siid_t* iid = &p.ring[p.first]
    cdef uint32_t* link = &p.buckets[iid.hash & (p.room - 1)]
    while link[0] != p.first + 1:
        link = &p.ring[link[0] - 1].next
    link[0] = iid.next
    zfree(h, iid.text)
    p.first = (p.first + 1) & (p.room - 1)
    p.len -= 1


cdef inline bint _all_over(const sidmp_t* m, const sproducer_t* p, int64_t now_ms) noexcept nogil:
    return p.len == 0 or idmp_is_over(m, idmp_at(p, p.len - 1), now_ms)


cdef bint _find(const sidmp_t* m, const char* name, size_t n, uint32_t* place) noexcept nogil:
    """Where the producer is, or would be."""
    cdef uint32_t low = 0
    cdef uint32_t high = m.len
    cdef uint32_t middle
    cdef int order
    while low < high:
        middle = (low + high) / 2
        order = bytes_order(&m.producers[middle].name[0], m.producers[middle].name_len, name, n)
        if order == 0:
            place[0] = middle
            return True
        if order < 0:
            low = middle + 1
        else:
            high = middle
    place[0] = low
    return False


cdef const siid_t* _in(const sproducer_t* p, const char* text, size_t n) noexcept nogil:
    cdef uint32_t hash = <uint32_t>xxh3_64(text, n)
    cdef uint32_t at = p.buckets[hash & (p.room - 1)] if p.room else 0
    cdef const siid_t* iid
    while at:
        iid = &p.ring[at - 1]
        if iid.hash == hash and iid.len == n and memcmp(iid.text, text, n) == 0:
            return iid
        at = iid.next
    return NULL

# ---- all of them -------------------------------------------------------------------------------------

cdef const siid_t* idmp_find(
    const sidmp_t* m, const char* name, size_t nn, const char* text, size_t n, int64_t now_ms
) noexcept nogil:
    cdef const siid_t* iid
    cdef uint32_t place
    if m == NULL or not _find(m, name, nn, &place):
        return NULL
    iid = _in(m.producers[place], text, n)
    if iid == NULL or idmp_is_over(m, iid, now_ms):
        return NULL
    return iid


cdef void _remove(heap_t* h, sidmp_t* m, uint32_t place) noexcept nogil:
    _producer_release(h, m.producers[place])
    m.len -= 1
    memmove(&m.producers[place], &m.producers[place + 1], (m.len - place) * sizeof(sproducer_t*))


cdef void _look_at_some(heap_t* h, sidmp_t* m, int64_t now_ms) noexcept nogil:
    cdef int _
    for _ in range(LOOKS):
        if m.look_at >= m.len:
            m.look_at = 0
        if m.len and _all_over(m, m.producers[m.look_at], now_ms):
            _remove(h, m, m.look_at)
        else:
            m.look_at += 1


cdef sproducer_t* _of(heap_t* h, sidmp_t* m, const char* name, size_t n) noexcept nogil:
    """To write; made if need be."""
    cdef uint32_t place
    if _find(m, name, n, &place):
        return _own(h, &m.producers[place])
    if m.len == m.room:
        m.room = max(m.room + m.room / 2, <uint32_t>ROOM_LEAST)
        m.producers = <sproducer_t**>zrealloc(h, m.producers, m.room * sizeof(sproducer_t*))
    memmove(&m.producers[place + 1], &m.producers[place], (m.len - place) * sizeof(sproducer_t*))
    m.producers[place] = _producer_new(h, name, n)
    m.len += 1
    return m.producers[place]


cdef void idmp_add(
    heap_t* h, sidmp_t* m, const char* name, size_t nn, const char* text, size_t n, const sid_t* id, int64_t when,
    int64_t now_ms
) noexcept nogil:
    cdef sproducer_t* p
    cdef siid_t* iid
    cdef uint32_t place
    _look_at_some(h, m, now_ms)
    p = _of(h, m, name, nn)
    while p.len and (p.len >= m.most or idmp_is_over(m, idmp_at(p, 0), now_ms)):
        _drop_oldest(h, p)
    if p.len == p.room:
        _set_room(h, p, max(2 * p.room, <uint32_t>ROOM_LEAST))
    if p.len:
        when = max(when, idmp_at(p, p.len - 1).when)  # should the clock go back
    place = (p.first + p.len) & (p.room - 1)
    iid = &p.ring[place]
    iid.id = id[0]
    iid.when = when
    iid.text = <char*>zmalloc(h, n)
    memcpy(iid.text, text, n)
    iid.len = <uint32_t>n
    iid.hash = <uint32_t>xxh3_64(text, n)
    _link(p, place)
    p.len += 1


cdef void idmp_count(const sidmp_t* m, int64_t now_ms, uint64_t* producers, uint64_t* iids) noexcept nogil:
    cdef const sproducer_t* p
    cdef uint32_t i, low, high, middle
    producers[0] = iids[0] = 0
    for i in range(m.len):
        p = m.producers[i]
        low = 0
        high = p.len
        while low < high:
            middle = (low + high) / 2
            if idmp_is_over(m, idmp_at(p, middle), now_ms):
                low = middle + 1
            else:
                high = middle
        producers[0] += low < p.len
        iids[0] += p.len - low

# ---- sizes and check ---------------------------------------------------------------------------------

cdef size_t idmp_effort(const sidmp_t* m) noexcept nogil:
    cdef size_t n = 0
    cdef uint32_t i
    if m == NULL:
        return 0
    for i in range(m.len):
        n += 3 + m.producers[i].len
    return n + 2


cdef size_t idmp_memory(const sidmp_t* m) noexcept nogil:
    """Of texts about: that of each producer's oldest stands for the others."""
    cdef const sproducer_t* p
    cdef size_t n
    cdef uint32_t i
    if m == NULL:
        return 0
    n = sizeof(sidmp_t) + m.room * sizeof(sproducer_t*)
    for i in range(m.len):
        p = m.producers[i]
        n += sizeof(sproducer_t) + p.name_len + p.room * (sizeof(siid_t) + sizeof(uint32_t))
        if p.len:
            n += p.len * <size_t>idmp_at(p, 0).len
    return n


cdef int _check_producer(const sidmp_t* m, const sproducer_t* p) noexcept nogil:
    cdef const siid_t* iid
    cdef uint32_t i
    if cf_ref_get(&p.refs) == 0:
        return 1
    if p.len == 0 or p.len > p.room or p.len > m.most or p.room & (p.room - 1):
        return 4
    for i in range(p.len):
        iid = idmp_at(p, i)
        if i and iid.when < idmp_at(p, i - 1).when:
            return 5
        if _in(p, iid.text, iid.len) != iid:
            return 6
    return 0


cdef int idmp_check(const sidmp_t* m) noexcept nogil:
    cdef uint32_t i, place
    cdef int wrong
    if m == NULL:
        return 0
    if cf_ref_get(&m.refs) == 0:
        return 1
    if not 0 < m.duration_s <= IDMP_DURATION_S_MAX or not 0 < m.most <= IDMP_MOST_MAX:
        return 2
    for i in range(m.len):
        if not _find(m, &m.producers[i].name[0], m.producers[i].name_len, &place) or place != i:
            return 3
        wrong = _check_producer(m, m.producers[i])
        if wrong:
            return wrong
    return 0
