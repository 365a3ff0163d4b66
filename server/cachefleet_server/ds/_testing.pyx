"""The structures of ds/ as Python classes, for tests and benchmarks. Development builds only.

Every class has `check()`, which raises AssertionError with the number of the broken invariant.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cachefleet_server.ds.checksum cimport (
    crc64, sha1_final, sha1_init, sha1_t, sha1_update, xxh3_64
)
from cachefleet_server.ds.hash cimport hash_bytes, hash_seed_t
from cachefleet_server.ds.hashtable cimport *
from cachefleet_server.ds.ht_checking cimport ht_check
from cachefleet_server.ds.ht_freezing cimport ht_freeze_begin, ht_freeze_end, ht_freeze_step
from cachefleet_server.ds.ht_sampling cimport ht_random, ht_sample, rng_next
from cachefleet_server.ds.bucket cimport HT_SLOTS, ht_bucket_each, ht_bucket_t, ht_slot_t, slot_get, slot_set
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_thread_ns
from cachefleet_server.ds.lzf cimport lzf_compress, lzf_decompress
from cachefleet_server.ds.number cimport *
from cachefleet_server.ds.slab cimport slab_bytes, slab_check, slab_size, slab_t
from cachefleet_server.ds.zmalloc cimport (
    heap_cron, heap_free, heap_new, heap_t, heap_used, zfree, zmalloc, zsmall_alloc, zsmall_free)


# ---- hash table ----------------------------------------------------------------------------------

cdef struct item_t:
    int64_t value
    size_t klen
    char key[1]


cdef const char* _item_key(const void* element, size_t* n) noexcept nogil:
    cdef const item_t* item = <const item_t*>element
    n[0] = item.klen
    return &item.key[0]


cdef item_t* _item_new(heap_t* heap, const char* key, size_t n, int64_t value) noexcept nogil:
    cdef item_t* item = <item_t*>zmalloc(heap, sizeof(item_t) + n)
    item.value = value
    item.klen = n
    memcpy(&item.key[0], key, n)
    return item


cdef void _item_free(void* ctx, void* element) noexcept nogil:
    zfree(<heap_t*>ctx, element)


cdef tuple _pair(const item_t* item):
    return (item.key[:item.klen], item.value)


cdef void _collect(void* ctx, void* element) noexcept with gil:
    (<list>ctx).append(_pair(<const item_t*>element))


cdef void _deliver(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept with gil:
    cdef list chain = []
    ht_bucket_each(head, _collect, <void*>chain)
    (<list>ctx).append(chain)


cdef void _remove_some(void* ctx, void* element) noexcept with gil:
    """Scan callback: reports the element, then lets Python say which keys to remove and insert."""
    cdef HashTable table = <HashTable>ctx
    cdef tuple pair = _pair(<const item_t*>element)
    remove, insert = table.scan_fn(pair[0], pair[1])
    table.scanned.append(pair)
    for key in remove:
        table.remove(key)
    for key, value in insert:
        table.insert(key, value)


@cython.final
cdef class HashTable:
    cdef heap_t* heap
    cdef hash_seed_t seed
    cdef hashtable_t* t
    cdef uint64_t rng
    cdef uint64_t position
    cdef list delivered
    cdef list scanned
    cdef object scan_fn

    def __cinit__(self, uint64_t seed_a=1, uint64_t seed_b=2, uint64_t rng=0):
        self.heap = heap_new()
        self.seed.a = seed_a
        self.seed.b = seed_b
        self.rng = rng
        self.t = ht_new(self.heap, _item_key, &self.seed)

    def __dealloc__(self):
        ht_free(self.t, _item_free, self.heap)
        heap_free(self.heap)

    def __len__(self):
        return ht_len(self.t)

    def close(self):
        """Frees the table and returns the bytes that were not given back."""
        ht_free(self.t, _item_free, self.heap)
        left = heap_used(self.heap)
        self.t = ht_new(self.heap, _item_key, &self.seed)
        return left

    def check(self):
        cdef int error = ht_check(self.t)
        if error:
            raise AssertionError(f"hash table invariant {error} is broken")

    def insert(self, bytes key, int64_t value):
        cdef uint64_t hash = ht_hash(self.t, key, len(key))
        if ht_find(self.t, key, len(key), hash) != NULL:
            raise KeyError(key)
        ht_insert(self.t, _item_new(self.heap, key, len(key), value), hash)

    def find(self, bytes key):
        cdef uint64_t hash = ht_hash(self.t, key, len(key))
        ht_prefetch_bucket(self.t, hash)
        ht_prefetch_element(self.t, hash)
        ht_prefetch_overflow(self.t, hash)
        cdef item_t* item = <item_t*>ht_find(self.t, key, len(key), hash)
        return None if item == NULL else item.value

    def update(self, bytes key, int64_t value, bint move):
        """Changes the value in place, or through a new element in the same slot."""
        cdef uint64_t hash = ht_hash(self.t, key, len(key))
        cdef ht_slot_t slot = ht_find_slot(self.t, key, len(key), hash)
        if slot == 0:
            raise KeyError(key)
        ht_announce(self.t, hash)
        if move:
            zfree(self.heap, slot_get(slot))
            slot_set(slot, _item_new(self.heap, key, len(key), value))
        else:
            (<item_t*>slot_get(slot)).value = value

    def remove(self, bytes key):
        """The removed value, or None."""
        cdef item_t* item = <item_t*>ht_remove(self.t, key, len(key), ht_hash(self.t, key, len(key)))
        if item == NULL:
            return None
        value = item.value
        zfree(self.heap, item)
        return value

    def clear(self):
        ht_clear(self.t, _item_free, self.heap)

    def reserve(self, size_t n):
        ht_reserve(self.t, n)

    def rehash_steps(self, size_t n):
        return bool(ht_rehash_steps(self.t, n))

    def resize_if_needed(self):
        return bool(ht_resize_if_needed(self.t))

    def scan(self, uint64_t cursor):
        cdef list out = []
        cursor = ht_scan(self.t, cursor, _collect, <void*>out)
        return cursor, out

    def scan_changing(self, uint64_t cursor, fn):
        """fn(key, value) -> (keys to remove, pairs to insert), called for each element that is delivered."""
        self.scan_fn = fn
        self.scanned = []
        cursor = ht_scan(self.t, cursor, _remove_some, <void*>self)
        self.scan_fn = None
        return cursor, self.scanned

    def random(self):
        cdef void* element = ht_random(self.t, &self.rng)
        return None if element == NULL else _pair(<item_t*>element)

    def sample(self, size_t n):
        cdef void** out = <void**>zmalloc(self.heap, (n + 1) * sizeof(void*))
        cdef size_t found = ht_sample(self.t, out, n, &self.rng)
        result = [_pair(<item_t*>out[i]) for i in range(found)]
        zfree(self.heap, out)
        return result

    def freeze_begin(self):
        self.delivered = []
        self.position = 0
        ht_freeze_begin(self.t, _deliver, <void*>self.delivered)

    def freeze_step(self, size_t chains):
        return bool(ht_freeze_step(self.t, &self.position, chains))

    def freeze_end(self):
        """The chains delivered since freeze_begin."""
        ht_freeze_end(self.t)
        return self.delivered

    @property
    def heap_used(self):
        return heap_used(self.heap)

    @property
    def memory(self):
        return ht_memory(self.t)

    @property
    def slots(self):
        return ht_slots(self.t)

    @property
    def children(self):
        return self.t.pools[0].used + self.t.pools[1].used

    @property
    def rehashing(self):
        return self.t.rehash_index >= 0

    @property
    def layout_id(self):
        return self.t.layout_id

    @property
    def stale_versions(self):
        return self.t.stale_versions


@cython.final
cdef class HashTableBench:
    """n elements with 16-byte keys; each phase returns ns of CPU per operation."""
    cdef heap_t* heap
    cdef hash_seed_t seed
    cdef hashtable_t* t
    cdef item_t** items
    cdef size_t n
    cdef uint64_t rng

    def __cinit__(self, size_t n):
        cdef char key[16]
        cdef size_t i, j
        self.n = n
        self.rng = 42
        self.heap = heap_new()
        self.seed.a = 0x1234567
        self.seed.b = 0x89abcdef
        self.t = ht_new(self.heap, _item_key, &self.seed)
        self.items = <item_t**>zmalloc(self.heap, n * sizeof(void*))
        memcpy(key, b"benchkey", 8)
        for i in range(n):
            memcpy(key + 8, &i, 8)
            self.items[i] = _item_new(self.heap, key, 16, i)
        for i in range(n - 1, 0, -1):  # no phase meets them in the order of their addresses
            j = rng_next(&self.rng) % (i + 1)
            self.items[i], self.items[j] = self.items[j], self.items[i]

    def __dealloc__(self):
        ht_free(self.t, NULL, NULL)
        for i in range(self.n):
            zfree(self.heap, self.items[i])
        zfree(self.heap, self.items)
        heap_free(self.heap)

    cdef inline uint64_t _hash(self, const item_t* item) noexcept nogil:
        return hash_bytes(&item.key[0], item.klen, &self.seed)

    def insert(self):
        """Also the longest time that a run of 64 insertions took, in us."""
        cdef int64_t start, now, before
        cdef int64_t worst = 0
        cdef size_t i
        with nogil:
            start = cf_thread_ns()
            before = start
            for i in range(self.n):
                ht_insert(self.t, self.items[i], self._hash(self.items[i]))
                if i & 63 == 63:
                    now = cf_thread_ns()
                    worst = max(worst, now - before)
                    before = now
            now = cf_thread_ns()
        return (now - start) / self.n, worst / 1000

    def find(self, int batch):
        """Random keys that exist; batch > 0: so many at a time with both prefetch passes, as the reactor does."""
        cdef uint64_t hashes[64]
        cdef item_t* wanted[64]
        cdef int64_t start, now
        cdef size_t _round
        cdef size_t wrong = 0
        cdef int j
        cdef int step = batch if batch else 1
        with nogil:
            start = cf_thread_ns()
            for _round in range(self.n // step):
                for j in range(step):
                    wanted[j] = self.items[rng_next(&self.rng) % self.n]
                    hashes[j] = self._hash(wanted[j])
                    if batch:
                        ht_prefetch_bucket(self.t, hashes[j])
                if batch:
                    for j in range(step):
                        ht_prefetch_element(self.t, hashes[j])
                    for j in range(step):
                        ht_prefetch_overflow(self.t, hashes[j])
                for j in range(step):
                    if ht_find(self.t, &wanted[j].key[0], 16, hashes[j]) != wanted[j]:
                        wrong += 1
            now = cf_thread_ns()
        assert not wrong
        return (now - start) / self.n

    def missing(self):
        """Keys that do not exist."""
        cdef char key[16]
        cdef int64_t start, now
        cdef uint64_t value
        cdef size_t _round
        cdef size_t wrong = 0
        with nogil:
            memset(key, 0, 16)
            start = cf_thread_ns()
            for _round in range(self.n):
                value = rng_next(&self.rng)
                memcpy(key + 8, &value, 8)
                if ht_find(self.t, key, 16, hash_bytes(key, 16, &self.seed)) != NULL:
                    wrong += 1
            now = cf_thread_ns()
        assert not wrong
        return (now - start) / self.n

    def random(self, size_t n):
        cdef int64_t start = cf_thread_ns()
        with nogil:
            for _ in range(n):
                ht_random(self.t, &self.rng)
        return (cf_thread_ns() - start) / n

    def sample(self, size_t n):
        """n samples of 5."""
        cdef void* out[5]
        cdef int64_t start = cf_thread_ns()
        with nogil:
            for _ in range(n):
                ht_sample(self.t, out, 5, &self.rng)
        return (cf_thread_ns() - start) / n

    def remove(self):
        cdef int64_t start = cf_thread_ns()
        cdef size_t i
        with nogil:
            for i in range(self.n):
                ht_remove(self.t, &self.items[i].key[0], 16, self._hash(self.items[i]))
        return (cf_thread_ns() - start) / self.n

    @property
    def bytes_per_element(self):
        return ht_memory(self.t) / <double>self.n

    @property
    def overflow_per_bucket(self):
        return (self.t.pools[0].used + self.t.pools[1].used) / (<double>ht_slots(self.t) / HT_SLOTS)


# ---- algorithms ----------------------------------------------------------------------------------

def int_text(v):
    cdef char buf[INT64_CHARS_MAX]
    return buf[:uint64_to_chars(buf, v) if v > 0x7FFFFFFFFFFFFFFF else int64_to_chars(buf, v)]


def double_text(double v):
    cdef char buf[DOUBLE_CHARS_MAX]
    return buf[:double_to_chars(buf, v)]


def longdouble_sum_text(bytes a, bytes b):
    """What INCRBYFLOAT makes of the texts, or None when one is refused."""
    cdef char buf[NUMBER_CHARS_MAX]
    cdef long double x, y
    if not chars_to_longdouble(a, len(a), &x) or not chars_to_longdouble(b, len(b), &y):
        return None
    return buf[:longdouble_to_chars(buf, x + y)]


def parse_int64(bytes text):
    cdef int64_t v
    return v if chars_to_int64(text, len(text), &v) else None


def parse_uint64(bytes text):
    cdef uint64_t v
    return v if chars_to_uint64(text, len(text), &v) else None


def parse_double(bytes text):
    cdef double v
    return v if chars_to_double(text, len(text), &v) else None


def parse_bound(bytes text):
    cdef double v
    return v if chars_to_bound(text, len(text), &v) else None


def hash64(bytes data, uint64_t seed_a, uint64_t seed_b):
    cdef hash_seed_t seed
    seed.a = seed_a
    seed.b = seed_b
    return hash_bytes(data, len(data), &seed)


def crc(bytes data, uint64_t before=0):
    return crc64(before, <const char*>data, len(data))


def xxh3(bytes data):
    return xxh3_64(<const char*>data, len(data))


def sha1(list parts):
    cdef sha1_t s
    cdef uint8_t digest[20]
    sha1_init(&s)
    for part in parts:
        sha1_update(&s, <const char*>part, len(part))
    sha1_final(&s, digest)
    return (<char*>digest)[:20]


def compress(bytes data, size_t cap):
    """The compressed bytes; empty when they do not fit."""
    cdef bytearray out = bytearray(cap)
    del out[lzf_compress(<const char*>data, len(data), <char*>out, cap):]
    return bytes(out)


def decompress(bytes data, size_t cap):
    cdef bytearray out = bytearray(cap)
    del out[lzf_decompress(<const char*>data, len(data), <char*>out, cap):]
    return bytes(out)


# ---- slabs -----------------------------------------------------------------------------------------

cdef class Slab:
    """Objects are their addresses. Each is filled with a byte of its own, so that an overlap shows."""

    cdef heap_t* heap

    def __cinit__(self):
        self.heap = heap_new()

    def __dealloc__(self):
        heap_free(self.heap)

    def check(self):
        wrong = slab_check(self.heap.slab)
        assert wrong == 0, wrong

    def alloc(self, size_t n, unsigned char fill):
        cdef void* p = zsmall_alloc(self.heap, n)
        memset(p, fill, n)
        return <size_t>p

    def content(self, size_t p, size_t n):
        return (<char*>p)[:n]

    def size(self, size_t p): return slab_size(<void*>p)

    @property
    def bytes(self):
        return slab_bytes(self.heap.slab)

    def free(self, size_t p): zsmall_free(self.heap, <void*>p)

    def free_remote(self, list objects):
        """As a helper thread does; may run beside everything else. Returns the bytes that were freed."""
        cdef heap_t own
        cdef size_t n = len(objects)
        cdef size_t i
        cdef void** p = <void**>malloc((n + 1) * sizeof(void*))
        memset(&own, 0, sizeof(own))
        for i in range(n):
            p[i] = <void*><size_t>objects[i]
        with nogil:
            for i in range(n):
                zsmall_free(&own, p[i])
        free(p)
        cf_atomic_add(&self.heap.freed_remote, 0 - own.used)
        return 0 - <int64_t>own.used

    def cron(self): heap_cron(self.heap)

    @property
    def pending(self):
        """Something that another thread freed is not taken in yet."""
        cdef slab_t* s = self.heap.slab
        return s.taking_in != NULL or s.remote_pages != NULL

    @property
    def pages(self): return self.heap.slab.pages

    @property
    def used(self): return heap_used(self.heap)
