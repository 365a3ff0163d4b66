"""See stream.pxd."""

from libc.string cimport memmove, memset

from cachefleet_server.ds.idtree cimport (
    IDT_FANOUT, idt_at, idt_check, idt_edge, idt_find, idt_init, idt_last_own, idt_memory, idt_put, idt_release,
    idt_remove, idt_seek_back, idt_share, idt_step, sid_compare, sid_less)
from cachefleet_server.ds.intrin cimport cf_ref_drop, cf_ref_get
from cachefleet_server.ds.order cimport bytes_order
from cachefleet_server.ds.stream_block cimport (
    SB_DELETED, SB_HEADER, SB_SAME, sb_append, sb_bytes, sb_counts, sb_cut, sb_delete, sb_end, sb_entry,
    sb_entry_before, sb_entry_end, sb_head, sb_item, sb_new, sb_next, sb_of, sb_own, sb_same_fields, sb_trim,
    sb_validate, span_t)
from cachefleet_server.ds.stream_group cimport (
    GROUP_READ_UNKNOWN, group_acknowledge, group_check, group_copy, group_effort, group_memory, group_release)
from cachefleet_server.ds.stream_idmp cimport idmp_check, idmp_effort, idmp_memory, idmp_release
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree, zmalloc, zrealloc

cdef enum:
    ROOM_MAX = 4096  # bytes to which a block's room doubles
    BLOCK_RECORD = 24  # an id and a pointer

# ---- owners ------------------------------------------------------------------------------------------

cdef stream_t* stream_new(heap_t* h) noexcept nogil:
    cdef stream_t* s = <stream_t*>zcalloc(h, sizeof(stream_t))
    s.refs = 1
    idt_init(&s.blocks, BLOCK_RECORD, True)
    return s


cdef stream_t* stream_own(heap_t* h, stream_t* s) noexcept nogil:
    cdef stream_t* new
    cdef uint32_t i
    if cf_ref_get(&s.refs) == 1:
        return s
    new = <stream_t*>zmalloc(h, sizeof(stream_t))
    new[0] = s[0]
    new.refs = 1
    idt_share(&s.blocks, &new.blocks)
    new.group_room = s.group_count
    new.groups = NULL
    if s.group_count:
        new.groups = <sgroup_t**>zmalloc(h, s.group_count * sizeof(sgroup_t*))
    for i in range(s.group_count):
        new.groups[i] = s.groups[i]
        cf_ref_add(&s.groups[i].refs)
    if s.idmp != NULL:
        cf_ref_add(&s.idmp.refs)
    stream_release(h, s)  # the other owner may have let go meanwhile
    return new


cdef void stream_release(heap_t* h, stream_t* s) noexcept nogil:
    cdef uint32_t i
    if not cf_ref_drop(&s.refs):
        return
    idt_release(h, &s.blocks)
    for i in range(s.group_count):
        group_release(h, s.groups[i])
    zfree(h, s.groups)
    idmp_release(h, s.idmp)
    zfree(h, s)


# ---- entries -----------------------------------------------------------------------------------------

cdef inline sblock_t** _place(void* record) noexcept nogil:
    return <sblock_t**>(<char*>record + sizeof(sid_t))


cdef bint _is_full(const sblock_t* b, size_t more, const stream_limits_t* limits) noexcept nogil:
    """Where Valkey begins another one."""
    cdef shead_t head
    if sb_bytes(b) + more >= (limits.bytes if 0 < limits.bytes < STREAM_BYTES_MAX else <size_t>STREAM_BYTES_MAX):
        return True
    if limits.entries == 0:
        return False
    sb_head(b, &head)
    return head.count + head.deleted >= limits.entries


cdef void stream_append(
    heap_t* h, stream_t* s, const sid_t* id, const char* args, size_t stride, size_t fields,
    const stream_limits_t* limits
) noexcept nogil:
    cdef void* record = idt_last_own(h, &s.blocks)
    cdef size_t room = min(limits.bytes if limits.bytes else <size_t>ROOM_MAX, <size_t>ROOM_MAX)
    cdef size_t total = 0
    cdef size_t i
    cdef sblock_t** place
    cdef shead_t head
    cdef sid_t difference
    cdef bint is_new = True
    for i in range(2 * fields):
        total += (<const span_t*>(args + i * stride)).len
    if record != NULL and _is_full(_place(record)[0], total, limits):
        sb_trim(h, _place(record))
        record = NULL
    if record == NULL:
        record = idt_put(h, &s.blocks, id, &is_new)
        place = _place(record)
        place[0] = sb_new(h, args, stride, fields, 0)
        difference.ms = 0
        difference.seq = 0
        sb_append(h, place, &difference, args, stride, fields, True, room)
        sb_counts(h, place, 1, 0)
        s.bytes += sb_bytes(place[0])
    else:
        place = _place(record)
        s.bytes -= sb_bytes(place[0])
        sb_head(sb_own(h, place), &head)
        difference.ms = id.ms - (<sid_t*>record).ms
        difference.seq = id.seq - (<sid_t*>record).seq
        sb_append(h, place, &difference, args, stride, fields, sb_same_fields(&head, args, stride, fields), room)
        sb_counts(h, place, head.count + 1, head.deleted)
        s.bytes += sb_bytes(place[0])
    s.length += 1
    s.added += 1
    s.last = id[0]
    if s.length == 1:
        s.first = id[0]


cdef bint stream_add_block(heap_t* h, stream_t* s, const sid_t* master, const char* p, size_t n) noexcept nogil:
    cdef int64_t count
    cdef sid_t last
    cdef bint is_new
    cdef void* record
    if s.blocks.count and not sid_less(&s.last, master):
        return False
    if not sb_validate(p, n, master, &count, &last):
        return False
    record = idt_put(h, &s.blocks, master, &is_new)
    _place(record)[0] = sb_of(h, p, n)
    s.length += <uint64_t>count
    s.bytes += n
    s.last = last
    return True


cdef void _drop_block(heap_t* h, stream_t* s, const sid_t* master, const sblock_t* b) noexcept nogil:
    cdef sid_t id = master[0]  # which may lie in the tree
    s.bytes -= sb_bytes(b)
    idt_remove(h, &s.blocks, &id)


cdef sblock_t** _block_own(heap_t* h, stream_t* s, const sid_t* master) noexcept nogil:
    cdef sid_t id = master[0]
    cdef bint is_new
    cdef sblock_t** place = _place(idt_put(h, &s.blocks, &id, &is_new))
    sb_own(h, place)
    return place


cdef void _first_anew(stream_t* s) noexcept nogil:
    cdef sid_t first
    stream_edge(s, False, &first)
    s.first = first


cdef bint stream_delete(heap_t* h, stream_t* s, const sid_t* id) noexcept nogil:
    cdef stream_iter_t it
    cdef sblock_t** place
    cdef size_t at
    if not stream_seek(&it, s, id, id, False) or not stream_next(&it):
        return False
    if it.head.count == 1:
        _drop_block(h, s, &it.master, it.block)
    else:
        at = it.entry.at - &it.block.data[0]
        s.bytes -= sb_bytes(it.block)
        place = _block_own(h, s, &it.master)
        place[0].data[at] |= SB_DELETED
        sb_counts(h, place, it.head.count - 1, it.head.deleted + 1)
        s.bytes += sb_bytes(place[0])
    s.length -= 1
    if sid_less(&s.max_deleted, id):
        s.max_deleted = id[0]
    if s.length == 0 or sid_compare(&s.first, id) == 0:
        _first_anew(s)
    return True


cdef bint _cut_last(heap_t* h, stream_t* s, const sid_t* id) noexcept nogil:
    """Removes a deleted entry behind the id; false: there is none, at the end of the last block."""
    cdef stream_iter_t it
    cdef sblock_t** place
    cdef size_t at, n
    cdef const char* p
    if not idt_edge(&s.blocks, True, &it.path):
        return False
    it.back = True
    _enter(&it)
    p = sb_entry_before(&it.head, it.at)
    if p != NULL:
        sb_entry(it.block, &it.head, &it.master, p, &it.entry)
        if not sid_less(id, &it.entry.id):
            return False
    if it.head.count == 0 and (p == NULL or p == it.head.entries):
        _drop_block(h, s, &it.master, it.block)
        return True
    at = p - &it.block.data[0]
    s.bytes -= sb_bytes(it.block)
    place = _block_own(h, s, &it.master)
    n = it.entry.fields + 4 if it.entry.flags & SB_SAME else 2 * it.entry.fields + 5
    sb_cut(place[0], at, n)
    sb_counts(h, place, it.head.count, it.head.deleted - 1)
    s.bytes += sb_bytes(place[0])
    return True


cdef void stream_set_last(heap_t* h, stream_t* s, const sid_t* id) noexcept nogil:
    while _cut_last(h, s, id):
        pass
    s.last = id[0]


cdef bint _whole_goes(
    const stream_t* s, const sblock_t* b, const shead_t* head, const sid_t* master, const stream_trim_t* rule
) noexcept nogil:
    cdef const char* p
    cdef sentry_t entry
    if rule.kind == TRIM_MAXLEN:
        return <int64_t>s.length - head.count >= rule.length
    p = sb_entry_before(head, sb_end(b))
    if p == NULL:
        return False
    sb_entry(b, head, master, p, &entry)
    return sid_less(&entry.id, &rule.id)


cdef int64_t _trim_within(
    heap_t* h, stream_t* s, const sid_t* master, const stream_trim_t* rule
) noexcept nogil:
    """Entries of the first block that have to go, which are not all."""
    cdef sblock_t** place = _block_own(h, s, master)
    cdef sid_t base = master[0]
    cdef shead_t head
    cdef sentry_t entry
    cdef const char* p
    cdef int64_t removed = 0
    sb_head(place[0], &head)
    p = head.entries
    s.bytes -= sb_bytes(place[0])
    while sb_entry(place[0], &head, &base, p, &entry):
        if <int64_t>s.length <= rule.length if rule.kind == TRIM_MAXLEN else not sid_less(&entry.id, &rule.id):
            break
        p = sb_entry_end(&entry)
        if not entry.flags & SB_DELETED:
            sb_delete(&entry)
            removed += 1
            s.length -= 1
    sb_counts(h, place, head.count - removed, head.deleted + removed)
    s.bytes += sb_bytes(place[0])
    return removed


cdef int64_t stream_trim(heap_t* h, stream_t* s, const stream_trim_t* rule) noexcept nogil:
    cdef int64_t removed = 0
    cdef idt_path_t path
    cdef sid_t* master
    cdef sblock_t* b
    cdef shead_t head
    while idt_edge(&s.blocks, False, &path):
        if rule.kind == TRIM_MAXLEN and <int64_t>s.length <= rule.length:
            break
        master = idt_at(&path)
        b = _place(master)[0]
        sb_head(b, &head)
        if rule.limit and removed + head.count > rule.limit:
            break
        if _whole_goes(s, b, &head, master, rule):
            _drop_block(h, s, master, b)
            s.length -= <uint64_t>head.count
            removed += head.count
            continue
        if not rule.approximate:
            removed += _trim_within(h, s, master, rule)
        break
    if removed or s.length == 0:
        _first_anew(s)
    return removed

# ---- reading -----------------------------------------------------------------------------------------

cdef void _enter(stream_iter_t* it) noexcept nogil:
    """The block of the path is the one to read."""
    it.master = idt_at(&it.path)[0]
    it.block = _place(idt_at(&it.path))[0]
    sb_head(it.block, &it.head)
    it.at = sb_end(it.block) if it.back else it.head.entries
    it.left = 0


cdef bint _is_near_the_end(const stream_t* s, const stream_iter_t* it) noexcept nogil:
    """Does the range begin in the later half of its first block, as far as ids tell?"""
    cdef idt_path_t next = it.path
    cdef sid_t bound = s.last
    if idt_step(&next, False):
        bound = idt_at(&next)[0]
    if sid_less(&it.start, &it.master):
        return False
    if sid_less(&bound, &it.start):
        return True
    if it.master.ms == bound.ms:
        return it.start.seq - it.master.seq > bound.seq - it.start.seq
    return it.start.ms - it.master.ms > bound.ms - it.start.ms


cdef void _begin_from_the_end(stream_iter_t* it) noexcept nogil:
    """Backwards to the first entry of the range: who follows a stream need not walk through what it has read."""
    cdef const char* p = sb_end(it.block)
    cdef const char* before = sb_entry_before(&it.head, p)
    while before != NULL:
        sb_entry(it.block, &it.head, &it.master, before, &it.entry)
        if sid_less(&it.entry.id, &it.start):
            break
        p = before
        before = sb_entry_before(&it.head, p)
    it.at = p


cdef bint stream_seek(
    stream_iter_t* it, const stream_t* s, const sid_t* start, const sid_t* end, bint back
) noexcept nogil:
    it.start = start[0]
    it.end = end[0]
    it.back = back
    it.block = NULL
    it.left = 0
    # The block in front of the start may have entries from it on.
    if not idt_seek_back(&s.blocks, end if back else start, &it.path):
        if back or not idt_edge(&s.blocks, False, &it.path):
            return False
    _enter(it)
    if not back and _is_near_the_end(s, it):
        _begin_from_the_end(it)
    return True


cdef inline const char* _skip_rest(stream_iter_t* it) noexcept nogil:
    """Behind the entry, of which some fields may not have been read."""
    cdef size_t _
    for _ in range(it.left if it.entry.flags & SB_SAME else 2 * it.left):
        it.value = sb_next(it.value)
    it.left = 0
    return sb_next(it.value)


cdef bint _ahead(stream_iter_t* it, bint* found) noexcept nogil:
    """One entry forward; false at the end of the block or range."""
    if not sb_entry(it.block, &it.head, &it.master, it.at, &it.entry):
        return False
    it.name = it.head.names
    it.value = it.entry.body
    it.left = it.entry.fields
    found[0] = False
    if sid_less(&it.end, &it.entry.id):
        it.block = NULL
        return False
    if it.entry.flags & SB_DELETED or sid_less(&it.entry.id, &it.start):
        it.at = _skip_rest(it)
        return True
    it.at = NULL  # known when its fields are read
    found[0] = True
    return True


cdef bint _behind(stream_iter_t* it, bint* found) noexcept nogil:
    cdef const char* p = sb_entry_before(&it.head, it.at)
    if p == NULL:
        return False
    it.at = p
    sb_entry(it.block, &it.head, &it.master, p, &it.entry)
    it.name = it.head.names
    it.value = it.entry.body
    it.left = it.entry.fields
    if sid_less(&it.entry.id, &it.start):
        it.block = NULL
        return False
    found[0] = not it.entry.flags & SB_DELETED and not sid_less(&it.end, &it.entry.id)
    return True


cdef bint stream_next(stream_iter_t* it) noexcept nogil:
    cdef bint found = False
    while it.block != NULL:
        if it.back:
            while _behind(it, &found):
                if found:
                    return True
        else:
            if it.at == NULL:
                it.at = _skip_rest(it)
            while _ahead(it, &found):
                if found:
                    return True
        if it.block != NULL:
            if not idt_step(&it.path, it.back):
                it.block = NULL
            else:
                _enter(it)
    return False


cdef void stream_field(stream_iter_t* it, lp_item_t* name, lp_item_t* value) noexcept nogil:
    if it.entry.flags & SB_SAME:
        it.name = sb_item(it.name, name)
    else:
        it.value = sb_item(it.value, name)
    it.value = sb_item(it.value, value)
    it.left -= 1


cdef bint stream_has(const stream_t* s, const sid_t* id) noexcept nogil:
    cdef stream_iter_t it
    return stream_seek(&it, s, id, id, False) and stream_next(&it)


cdef bint stream_edge(const stream_t* s, bint back, sid_t* out) noexcept nogil:
    cdef stream_iter_t it
    cdef sid_t start
    cdef sid_t end
    memset(&start, 0, sizeof(sid_t))
    memset(&end, 0xFF, sizeof(sid_t))
    if stream_seek(&it, s, &start, &end, back) and stream_next(&it):
        out[0] = it.entry.id
        return True
    out[0] = start
    return False


cdef int64_t stream_read_count(const stream_t* s, const sid_t* id) noexcept nogil:
    cdef bint is_zero = id.ms == 0 and id.seq == 0
    if s.added == 0:
        return 0
    if s.length == 0 and not sid_less(&s.last, id):
        return <int64_t>s.added
    if not is_zero and sid_less(id, &s.max_deleted):
        return GROUP_READ_UNKNOWN
    if sid_compare(id, &s.last) == 0:
        return <int64_t>s.added
    if sid_less(&s.last, id):
        return GROUP_READ_UNKNOWN
    if (s.max_deleted.ms or s.max_deleted.seq) and not sid_less(&s.max_deleted, &s.first):
        return GROUP_READ_UNKNOWN
    if sid_less(&s.first, id):
        return GROUP_READ_UNKNOWN
    return <int64_t>(s.added - s.length) + (sid_compare(id, &s.first) == 0)


cdef bint stream_has_gap(const stream_t* s, const sid_t* from_) noexcept nogil:
    if s.length == 0 or (s.max_deleted.ms == 0 and s.max_deleted.seq == 0):
        return False
    return not sid_less(&s.max_deleted, from_)


cdef bint stream_lag(const stream_t* s, const sgroup_t* g, int64_t* lag) noexcept nogil:
    cdef int64_t read = g.entries_read
    lag[0] = 0
    if s.added == 0:
        return True
    if read == GROUP_READ_UNKNOWN or stream_has_gap(s, &g.last):
        read = stream_read_count(s, &g.last)
    lag[0] = <int64_t>s.added - read
    return read != GROUP_READ_UNKNOWN

# ---- groups ------------------------------------------------------------------------------------------

cdef int64_t stream_group_find(const stream_t* s, const char* name, size_t n, uint32_t* place) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = s.group_count
    cdef uint32_t middle
    cdef const sgroup_t* g
    cdef int order
    while low < high:
        middle = (low + high) / 2
        g = s.groups[middle]
        order = bytes_order(&g.name[0], g.name_len, name, n)
        if order == 0:
            place[0] = middle
            return middle
        if order < 0:
            low = middle + 1
        else:
            high = middle
    place[0] = low
    return -1


cdef sgroup_t* stream_group_own(heap_t* h, stream_t* s, uint32_t place) noexcept nogil:
    cdef sgroup_t* g = s.groups[place]
    if cf_ref_get(&g.refs) > 1:
        s.groups[place] = group_copy(h, g)
        group_release(h, g)
    return s.groups[place]


cdef void stream_group_add(heap_t* h, stream_t* s, uint32_t place, sgroup_t* g) noexcept nogil:
    if s.group_count == s.group_room:
        s.group_room = max(s.group_room + s.group_room / 2, s.group_room + 1)
        s.groups = <sgroup_t**>zrealloc(h, s.groups, s.group_room * sizeof(sgroup_t*))
    memmove(&s.groups[place + 1], &s.groups[place], (s.group_count - place) * sizeof(sgroup_t*))
    s.groups[place] = g
    s.group_count += 1


cdef void stream_group_remove(heap_t* h, stream_t* s, uint32_t place) noexcept nogil:
    group_release(h, s.groups[place])
    s.group_count -= 1
    memmove(&s.groups[place], &s.groups[place + 1], (s.group_count - place) * sizeof(sgroup_t*))


cdef bint stream_is_needed(const stream_t* s, const sid_t* id) noexcept nogil:
    cdef uint32_t i
    for i in range(s.group_count):
        if sid_less(&s.groups[i].last, id) or idt_find(&s.groups[i].pending, id) != NULL:
            return True
    return False


cdef bint stream_acknowledge(heap_t* h, stream_t* s, uint32_t place, const sid_t* id) noexcept nogil:
    if idt_find(&s.groups[place].pending, id) == NULL:
        return False
    return group_acknowledge(h, stream_group_own(h, s, place), id)

# ---- sizes and check ---------------------------------------------------------------------------------

cdef size_t stream_effort(const stream_t* s) noexcept nogil:
    cdef size_t n = 1 + s.blocks.count + s.blocks.count / (IDT_FANOUT / 2) + idmp_effort(s.idmp)
    cdef uint32_t i
    for i in range(s.group_count):
        n += group_effort(s.groups[i])
    return n


cdef size_t stream_memory(const stream_t* s) noexcept nogil:
    cdef size_t n = sizeof(stream_t) + idt_memory(&s.blocks) + s.bytes + s.blocks.count * (SB_HEADER + 8)
    cdef uint32_t i
    n += s.group_room * sizeof(sgroup_t*) + idmp_memory(s.idmp)
    for i in range(s.group_count):
        n += group_memory(s.groups[i])
    return n


cdef int stream_check(const stream_t* s) noexcept nogil:
    cdef uint64_t length = 0
    cdef size_t bytes = 0
    cdef sid_t last, first
    cdef int64_t count
    cdef idt_path_t path
    cdef const sblock_t* b
    cdef uint32_t i, place
    cdef int wrong
    cdef bint more
    if cf_ref_get(&s.refs) == 0:
        return 1
    if idt_check(&s.blocks):
        return 2
    more = idt_edge(&s.blocks, False, &path)
    while more:
        if bytes and not sid_less(&last, idt_at(&path)):
            return 4
        b = _place(idt_at(&path))[0]
        if not sb_validate(&b.data[0], sb_bytes(b), idt_at(&path), &count, &last) or b.room < sb_bytes(b):
            return 3
        length += <uint64_t>count
        bytes += sb_bytes(b)
        more = idt_step(&path, False)
    if length != s.length:
        return 5
    if bytes != s.bytes:
        return 6
    stream_edge(s, False, &first)
    if sid_compare(&first, &s.first):
        return 7
    if bytes and sid_less(&s.last, &last):
        return 8
    for i in range(s.group_count):
        if stream_group_find(s, &s.groups[i].name[0], s.groups[i].name_len, &place) != i:
            return 9
        wrong = group_check(s.groups[i])
        if wrong:
            return 10 + wrong
    wrong = idmp_check(s.idmp)
    return 30 + wrong if wrong else 0
