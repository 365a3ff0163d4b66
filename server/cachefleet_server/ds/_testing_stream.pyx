"""Id trees and streams as Python classes, for tests. Development builds only."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_t
from cachefleet_server.ds.idtree cimport *
from cachefleet_server.ds.listpack cimport lp_item_t
from cachefleet_server.ds.stream cimport *
from cachefleet_server.ds.stream_block cimport sb_bytes, sblock_t, span_t
from cachefleet_server.ds.stream_group cimport *
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t, heap_used


cdef sid_t _id(tuple id):
    cdef sid_t out
    out.ms = id[0]
    out.seq = id[1]
    return out


cdef tuple _pair(const sid_t* id):
    return id.ms, id.seq


cdef object _bytes(const lp_item_t* e):
    return b"%d" % e.num if e.str == NULL else e.str[:e.len]


cdef struct _record_t:
    sid_t id
    uint64_t value


@cython.final
cdef class Heap:
    cdef heap_t* h

    def __cinit__(self):
        self.h = heap_new()

    def __dealloc__(self):
        heap_free(self.h)

    @property
    def used(self):
        return heap_used(self.h)


@cython.final
cdef class IdTree:
    """Records of an id and a number."""
    cdef Heap heap
    cdef idtree_t t

    def __cinit__(self, Heap heap):
        self.heap = heap
        idt_init(&self.t, sizeof(_record_t), False)

    def __dealloc__(self):
        idt_release(self.heap.h, &self.t)

    def __len__(self):
        return self.t.count

    def share(self):
        cdef IdTree other = IdTree(self.heap)
        idt_share(&self.t, &other.t)
        return other

    def check(self):
        assert idt_check(&self.t) == 0, idt_check(&self.t)

    def put(self, tuple id, uint64_t value):
        """Was it new?"""
        cdef sid_t key = _id(id)
        cdef bint is_new
        (<_record_t*>idt_put(self.heap.h, &self.t, &key, &is_new)).value = value
        return bool(is_new)

    def put_last(self, uint64_t value):
        cdef _record_t* record = <_record_t*>idt_last_own(self.heap.h, &self.t)
        if record == NULL:
            return False
        record.value = value
        return True

    def get(self, tuple id):
        cdef sid_t key = _id(id)
        cdef _record_t* record = <_record_t*>idt_find(&self.t, &key)
        return None if record == NULL else record.value

    def remove(self, tuple id):
        cdef sid_t key = _id(id)
        return bool(idt_remove(self.heap.h, &self.t, &key))

    cdef list _walk(self, idt_path_t* path, bint there, bint back, size_t n):
        cdef list out = []
        while there and n:
            out.append((_pair(idt_at(path)), (<_record_t*>idt_at(path)).value))
            n -= 1
            there = idt_step(path, back)
        return out

    def walk(self, bint back=False):
        cdef idt_path_t path
        return self._walk(&path, idt_edge(&self.t, back, &path), back, <size_t>-1)

    def walk_from(self, tuple id, bint back, size_t n):
        """n records from the first not below id, or backwards from the last not above it."""
        cdef sid_t key = _id(id)
        cdef idt_path_t path
        cdef bint there
        if back:
            there = idt_seek_back(&self.t, &key, &path)
        else:
            there = idt_seek(&self.t, &key, &path)
        return self._walk(&path, there, back, n)


@cython.final
cdef class Stream:
    cdef Heap heap
    cdef stream_t* s
    cdef stream_limits_t limits

    def __cinit__(self, Heap heap, size_t bytes=4096, int64_t entries=100):
        self.heap = heap
        self.s = stream_new(heap.h)
        self.limits.bytes = bytes
        self.limits.entries = entries

    def __dealloc__(self):
        if self.s != NULL:
            stream_release(self.heap.h, self.s)

    def __len__(self):
        return self.s.length

    def share(self):
        cdef Stream other = Stream(self.heap, self.limits.bytes, self.limits.entries)
        stream_release(self.heap.h, other.s)
        other.s = stream_share(self.s)
        return other

    def check(self):
        assert stream_check(self.s) == 0, stream_check(self.s)

    cdef void _own(self):
        self.s = stream_own(self.heap.h, self.s)

    def append(self, tuple id, list words):
        cdef sid_t key = _id(id)
        cdef span_t* spans = <span_t*>malloc((len(words) + 1) * sizeof(span_t))
        cdef size_t i
        for i in range(<size_t>len(words)):
            spans[i].ptr = words[i]
            spans[i].len = len(words[i])
        self._own()
        stream_append(self.heap.h, self.s, &key, <const char*>spans, sizeof(span_t), len(words) // 2, &self.limits)
        free(spans)

    def delete(self, tuple id):
        cdef sid_t key = _id(id)
        self._own()
        return bool(stream_delete(self.heap.h, self.s, &key))

    def trim(self, length=None, id=None, bint approximate=False, int64_t limit=0):
        cdef stream_trim_t rule
        rule.kind = TRIM_MAXLEN if id is None else TRIM_MINID
        rule.length = length or 0
        rule.id = _id(id or (0, 0))
        rule.approximate = approximate
        rule.limit = limit
        self._own()
        return stream_trim(self.heap.h, self.s, &rule)

    def set_last(self, tuple id):
        cdef sid_t key = _id(id)
        self._own()
        stream_set_last(self.heap.h, self.s, &key)

    def is_needed(self, tuple id):
        cdef sid_t key = _id(id)
        return bool(stream_is_needed(self.s, &key))

    def range(self, tuple start, tuple end, bint back=False, size_t names_read=1 << 30):
        """Entries as (id, words); of each at most so many fields are read."""
        cdef sid_t first = _id(start)
        cdef sid_t last = _id(end)
        cdef stream_iter_t it
        cdef lp_item_t name, value
        cdef list out = []
        cdef list words
        cdef size_t _
        if not stream_seek(&it, self.s, &first, &last, back):
            return out
        while stream_next(&it):
            words = []
            for _ in range(min(it.entry.fields, names_read)):
                stream_field(&it, &name, &value)
                words += [_bytes(&name), _bytes(&value)]
            out.append((_pair(&it.entry.id), words))
        return out

    def has(self, tuple id):
        cdef sid_t key = _id(id)
        return bool(stream_has(self.s, &key))

    @property
    def first(self):
        return _pair(&self.s.first)

    @property
    def last(self):
        return _pair(&self.s.last)

    @property
    def max_deleted(self):
        return _pair(&self.s.max_deleted)

    @property
    def added(self):
        return self.s.added

    def blocks(self):
        """Master ids and listpacks."""
        cdef list out = []
        cdef idt_path_t path
        cdef sblock_t* b
        cdef bint more = idt_edge(&self.s.blocks, False, &path)
        while more:
            b = (<sblock_t**>(idt_at(&path) + 1))[0]
            out.append((_pair(idt_at(&path)), b.data[:sb_bytes(b)]))
            more = idt_step(&path, False)
        return out

    def add_block(self, tuple master, bytes data):
        cdef sid_t key = _id(master)
        self._own()
        return bool(stream_add_block(self.heap.h, self.s, &key, data, len(data)))

    # -- groups

    cdef sgroup_t* _group(self, bytes name) except NULL:
        cdef uint32_t place
        self._own()
        if stream_group_find(self.s, name, len(name), &place) < 0:
            raise KeyError(name)
        return stream_group_own(self.heap.h, self.s, place)

    def group_add(self, bytes name, tuple last):
        cdef uint32_t place
        cdef sid_t id = _id(last)
        self._own()
        if stream_group_find(self.s, name, len(name), &place) >= 0:
            return False
        stream_group_add(self.heap.h, self.s, place, group_new(self.heap.h, name, len(name), &id, 0))
        return True

    def group_remove(self, bytes name):
        cdef uint32_t place
        self._own()
        if stream_group_find(self.s, name, len(name), &place) < 0:
            return False
        stream_group_remove(self.heap.h, self.s, place)
        return True

    def pend(self, bytes group, bytes consumer, tuple id, int64_t when, int64_t times):
        """Was it new? The consumer is made if need be."""
        cdef sgroup_t* g = self._group(group)
        cdef uint32_t place
        cdef sid_t key = _id(id)
        cdef bint is_new
        cdef spending_t* entry
        cdef int64_t number = group_find(g, consumer, len(consumer), &place)
        if number < 0:
            number = group_add(self.heap.h, g, consumer, len(consumer), when).number
        entry = group_pend(self.heap.h, g, &key, number, &is_new)
        pending_set(g, entry, when, times)
        return bool(is_new)

    def acknowledge(self, bytes group, tuple id):
        cdef sid_t key = _id(id)
        return bool(group_acknowledge(self.heap.h, self._group(group), &key))

    def take_idle(self, bytes group, int64_t until, size_t most):
        """[(when, id)], the oldest first, which are acknowledged; and what the group says about the others' times."""
        cdef sgroup_t* g = self._group(group)
        cdef buf_t out
        cdef sidle_t* found
        cdef size_t n, i
        cdef list taken = []
        buf_init(&out, self.heap.h)
        n = group_idle(self.heap.h, g, until, most, &out)
        found = <sidle_t*>out.data
        for i in range(n):
            taken.append((found[i].when, _pair(&found[i].id)))
            group_acknowledge(self.heap.h, g, &found[i].id)
        buf_free(&out)
        return taken, group_oldest(g)

    def consumer_remove(self, bytes group, bytes consumer):
        cdef sgroup_t* g = self._group(group)
        cdef uint32_t place
        if group_find(g, consumer, len(consumer), &place) < 0:
            return False
        group_remove(self.heap.h, g, place)
        return True

    def groups(self):
        """{group: {consumer: {id: (when, times)}}}, in order."""
        cdef dict out = {}
        cdef dict consumers, pending
        cdef sgroup_t* g
        cdef const sconsumer_t* c
        cdef const spending_t* entry
        cdef idt_path_t path
        cdef uint32_t i, j
        cdef bint more
        for i in range(self.s.group_count):
            g = self.s.groups[i]
            consumers = {}
            for j in range(g.len):
                c = group_at(g, j)
                pending = {}
                more = idt_edge(&c.pending, False, &path)
                while more:
                    entry = <const spending_t*>idt_find(&g.pending, idt_at(&path))
                    pending[_pair(&entry.id)] = pending_when(entry), pending_times(entry)
                    more = idt_step(&path, False)
                consumers[c.name[:c.name_len]] = pending
            out[g.name[:g.name_len]] = consumers
        return out
