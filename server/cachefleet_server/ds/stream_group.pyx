"""See stream_group.pxd."""

from libc.stdlib cimport qsort
from libc.string cimport memcpy, memmove

from cachefleet_server.ds.buf cimport buf_put
from cachefleet_server.ds.idtree cimport (
    IDT_FANOUT, idt_at, idt_check, idt_edge, idt_find, idt_init, idt_memory, idt_path_t, idt_put,
    idt_release, idt_remove, idt_share, idt_step, sid_compare)
from cachefleet_server.ds.intrin cimport cf_ref_add, cf_ref_drop, cf_ref_get
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc

# ---- consumers ---------------------------------------------------------------------------------------

cdef sconsumer_t* _consumer_new(heap_t* h, const char* name, size_t n) noexcept nogil:
    cdef sconsumer_t* c = <sconsumer_t*>zmalloc(h, sizeof(sconsumer_t) + n)
    c.refs = 1
    c.name_len = n
    memcpy(&c.name[0], name, n)
    return c


cdef void _consumer_release(heap_t* h, sconsumer_t* c) noexcept nogil:
    if c != NULL and cf_ref_drop(&c.refs):
        idt_release(h, &c.pending)
        zfree(h, c)


cdef sconsumer_t* group_consumer(heap_t* h, sgroup_t* g, uint32_t number) noexcept nogil:
    cdef sconsumer_t* c = g.consumers[number]
    cdef sconsumer_t* new
    if cf_ref_get(&c.refs) == 1:
        return c
    new = _consumer_new(h, &c.name[0], c.name_len)
    new.seen_ms = c.seen_ms
    new.active_ms = c.active_ms
    new.number = number
    idt_share(&c.pending, &new.pending)
    g.consumers[number] = new
    _consumer_release(h, c)
    return new


cdef int64_t group_find(const sgroup_t* g, const char* name, size_t n, uint32_t* place) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = g.len
    cdef uint32_t middle
    cdef const sconsumer_t* c
    cdef int order
    while low < high:
        middle = (low + high) / 2
        c = group_at(g, middle)
        order = bytes_order(&c.name[0], c.name_len, name, n)
        if order == 0:
            place[0] = middle
            return c.number
        if order < 0:
            low = middle + 1
        else:
            high = middle
    place[0] = low
    return -1


cdef sconsumer_t* group_add(heap_t* h, sgroup_t* g, const char* name, size_t n, int64_t now_ms) noexcept nogil:
    cdef sconsumer_t* c = _consumer_new(h, name, n)
    cdef uint32_t number = g.len
    cdef uint32_t place, i
    group_find(g, name, n, &place)
    if g.len < g.numbers:
        number = 0
        while g.consumers[number] != NULL:
            number += 1
    else:
        g.numbers = max(g.numbers + g.numbers / 2, <uint32_t>4)
        g.consumers = <sconsumer_t**>zrealloc(h, g.consumers, g.numbers * sizeof(sconsumer_t*))
        g.order = <uint32_t*>zrealloc(h, g.order, g.numbers * sizeof(uint32_t))
        for i in range(number, g.numbers):
            g.consumers[i] = NULL
    c.seen_ms = now_ms
    c.active_ms = -1
    c.number = number
    idt_init(&c.pending, sizeof(sid_t), False)
    g.consumers[number] = c
    memmove(&g.order[place + 1], &g.order[place], (g.len - place) * sizeof(uint32_t))
    g.order[place] = number
    g.len += 1
    return c


cdef void group_remove(heap_t* h, sgroup_t* g, uint32_t place) noexcept nogil:
    cdef uint32_t number = g.order[place]
    cdef sconsumer_t* c = g.consumers[number]
    cdef idt_path_t path
    cdef bint more = idt_edge(&c.pending, False, &path)
    while more:
        idt_remove(h, &g.pending, idt_at(&path))
        more = idt_step(&path, False)
    g.len -= 1
    memmove(&g.order[place], &g.order[place + 1], (g.len - place) * sizeof(uint32_t))
    g.consumers[number] = NULL
    _consumer_release(h, c)

# ---- groups ------------------------------------------------------------------------------------------

cdef sgroup_t* group_new(heap_t* h, const char* name, size_t n, const sid_t* last, int64_t entries_read) noexcept nogil:
    cdef sgroup_t* g = <sgroup_t*>zmalloc(h, sizeof(sgroup_t) + n)
    g.refs = 1
    g.last = last[0]
    g.entries_read = entries_read
    g.rest_ms = PENDING_48
    g.new_ms = PENDING_48
    g.oldest = NULL
    g.oldest_len = 0
    g.oldest_at = 0
    idt_init(&g.pending, sizeof(spending_t), False)
    g.consumers = NULL
    g.order = NULL
    g.numbers = 0
    g.len = 0
    g.name_len = n
    memcpy(&g.name[0], name, n)
    return g


cdef sgroup_t* group_copy(heap_t* h, const sgroup_t* g) noexcept nogil:
    cdef sgroup_t* new = group_new(h, &g.name[0], g.name_len, &g.last, g.entries_read)
    cdef uint32_t i
    new.new_ms = group_oldest(g)
    idt_share(&g.pending, &new.pending)
    if g.numbers:
        new.consumers = <sconsumer_t**>zmalloc(h, g.numbers * sizeof(sconsumer_t*))
        new.order = <uint32_t*>zmalloc(h, g.numbers * sizeof(uint32_t))
        memcpy(new.consumers, g.consumers, g.numbers * sizeof(sconsumer_t*))
        memcpy(new.order, g.order, g.len * sizeof(uint32_t))
    new.numbers = g.numbers
    new.len = g.len
    for i in range(g.numbers):
        if g.consumers[i] != NULL:
            cf_ref_add(&g.consumers[i].refs)
    return new


cdef void group_release(heap_t* h, sgroup_t* g) noexcept nogil:
    cdef uint32_t i
    if g == NULL or not cf_ref_drop(&g.refs):
        return
    idt_release(h, &g.pending)
    for i in range(g.numbers):
        _consumer_release(h, g.consumers[i])
    zfree(h, g.consumers)
    zfree(h, g.order)
    zfree(h, g.oldest)
    zfree(h, g)


# ---- pending entries ---------------------------------------------------------------------------------

cdef spending_t* group_pend(heap_t* h, sgroup_t* g, const sid_t* id, uint32_t consumer, bint* is_new) noexcept nogil:
    cdef spending_t* entry = <spending_t*>idt_put(h, &g.pending, id, is_new)
    cdef bint ignored
    if not is_new[0]:
        if entry.consumer == consumer:
            return entry
        idt_remove(h, &group_consumer(h, g, entry.consumer).pending, id)
    entry.consumer = consumer
    idt_put(h, &group_consumer(h, g, consumer).pending, id, &ignored)
    return entry


cdef bint group_acknowledge(heap_t* h, sgroup_t* g, const sid_t* id) noexcept nogil:
    cdef const spending_t* entry = <const spending_t*>idt_find(&g.pending, id)
    if entry == NULL:
        return False
    idt_remove(h, &group_consumer(h, g, entry.consumer).pending, id)
    idt_remove(h, &g.pending, id)
    return True

# ---- the oldest --------------------------------------------------------------------------------------

cdef int _older(const void* a, const void* b) noexcept nogil:
    cdef const sidle_t* x = <const sidle_t*>a
    cdef const sidle_t* y = <const sidle_t*>b
    if x.when != y.when:
        return -1 if x.when < y.when else 1
    return sid_compare(&x.id, &y.id)


cdef size_t _oldest_of(sidle_t* found, size_t n, size_t most, int64_t* rest_ms) noexcept nogil:
    """How many stay, sorted. The others' oldest time counts in rest_ms."""
    qsort(found, n, sizeof(sidle_t), _older)
    if most == 0 or n <= most:
        return n
    rest_ms[0] = min(rest_ms[0], found[most].when)
    return most


cdef size_t _look(sgroup_t* g, int64_t until_ms, size_t most, buf_t* out) noexcept nogil:
    """At all that is pending. Nothing is known but the time of those that are not in `out`. As ids rise, and as a rule
    times do, few come in question behind the first ones."""
    cdef int64_t rest_ms = PENDING_48
    cdef int64_t latest = until_ms
    cdef const spending_t* entry
    cdef idt_path_t path
    cdef sidle_t found
    cdef size_t n = 0
    cdef bint more = idt_edge(&g.pending, False, &path)
    out.len = 0
    while more:
        entry = <const spending_t*>idt_at(&path)
        found.when = pending_when(entry)
        if found.when <= latest:
            found.id = entry.id
            buf_put(out, &found, sizeof(sidle_t))
            n += 1
            if most and n == 2 * most:
                n = _oldest_of(<sidle_t*>out.data, n, most, &rest_ms)
                out.len = n * sizeof(sidle_t)
                latest = (<const sidle_t*>out.data)[n - 1].when - 1
        else:
            rest_ms = min(rest_ms, found.when)
        more = idt_step(&path, False)
    if n:
        n = _oldest_of(<sidle_t*>out.data, n, most, &rest_ms)
    g.oldest_at = g.oldest_len = 0
    g.rest_ms = rest_ms
    g.new_ms = PENDING_48
    return n


cdef void _look_for_oldest(heap_t* h, sgroup_t* g, buf_t* out) noexcept nogil:
    cdef size_t n = _look(g, PENDING_48, OLDEST_MAX, out)
    if g.oldest == NULL:
        g.oldest = <sidle_t*>zmalloc(h, OLDEST_MAX * sizeof(sidle_t))
    if n:
        memcpy(g.oldest, out.data, n * sizeof(sidle_t))
    g.oldest_len = <uint32_t>n


cdef size_t _take(sgroup_t* g, int64_t until_ms, size_t most, buf_t* out, bint* all_known) noexcept nogil:
    """Of the oldest, as far as they are known."""
    cdef const spending_t* entry
    cdef const sidle_t* next
    cdef size_t n = 0
    out.len = 0
    while n < most and group_oldest(g) <= until_ms:
        if g.oldest_at == g.oldest_len or g.oldest[g.oldest_at].when >= g.new_ms:
            all_known[0] = False
            return n
        next = &g.oldest[g.oldest_at]
        entry = <const spending_t*>idt_find(&g.pending, &next.id)
        if entry != NULL and pending_when(entry) == next.when:
            buf_put(out, next, sizeof(sidle_t))
            n += 1
        g.oldest_at += 1
    all_known[0] = True
    return n


cdef size_t group_idle(heap_t* h, sgroup_t* g, int64_t until_ms, size_t most, buf_t* out) noexcept nogil:
    cdef size_t n
    cdef bint all_known
    out.len = 0
    if group_oldest(g) > until_ms:
        return 0
    if most == 0 or most > OLDEST_MAX:
        return _look(g, until_ms, most, out)
    n = _take(g, until_ms, most, out, &all_known)
    if not all_known:
        _look_for_oldest(h, g, out)
        n = _take(g, until_ms, most, out, &all_known)
    return n

# ---- sizes and check ---------------------------------------------------------------------------------

cdef size_t group_effort(const sgroup_t* g) noexcept nogil:
    return 3 + 2 * g.len + g.pending.count / (IDT_FANOUT / 4)


cdef size_t group_memory(const sgroup_t* g) noexcept nogil:
    cdef size_t n = sizeof(sgroup_t) + g.name_len + g.numbers * (sizeof(sconsumer_t*) + sizeof(uint32_t))
    cdef uint32_t i
    if g.oldest != NULL:
        n += OLDEST_MAX * sizeof(sidle_t)
    n += idt_memory(&g.pending)
    for i in range(g.len):
        n += sizeof(sconsumer_t) + group_at(g, i).name_len + idt_memory(&group_at(g, i).pending)
    return n


cdef bint _is_known(const sgroup_t* g, const spending_t* entry) noexcept nogil:
    """Or one of those of which only a time is known?"""
    cdef uint32_t i
    if pending_when(entry) >= min(g.rest_ms, g.new_ms):
        return True
    for i in range(g.oldest_at, g.oldest_len):
        if sid_compare(&g.oldest[i].id, &entry.id) == 0 and g.oldest[i].when == pending_when(entry):
            return True
    return False


cdef int group_check(const sgroup_t* g) noexcept nogil:
    cdef size_t pending = 0
    cdef idt_path_t path
    cdef const spending_t* entry
    cdef uint32_t i, place
    cdef bint more
    if cf_ref_get(&g.refs) == 0:
        return 1
    for i in range(g.len):
        if g.order[i] >= g.numbers or group_at(g, i) == NULL or (
                group_find(g, &group_at(g, i).name[0], group_at(g, i).name_len, &place) != g.order[i] or place != i):
            return 2
        if group_at(g, i).number != g.order[i] or cf_ref_get(&group_at(g, i).refs) == 0:
            return 3
        if idt_check(&group_at(g, i).pending):
            return 5
        pending += group_at(g, i).pending.count
    if idt_check(&g.pending):
        return 4
    more = idt_edge(&g.pending, False, &path)
    while more:
        entry = <const spending_t*>idt_at(&path)
        if pending_when(entry) < group_oldest(g):
            return 8
        if not _is_known(g, entry):
            return 9
        if entry.consumer >= g.numbers or g.consumers[entry.consumer] == NULL or (
                idt_find(&g.consumers[entry.consumer].pending, &entry.id) == NULL):
            return 6
        more = idt_step(&path, False)
    return 0 if pending == g.pending.count else 7
