"""Sequences as Python classes, for tests and benchmarks. Development builds only."""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cachefleet_server.ds.ht_sampling cimport rng_next
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_thread_ns
from cachefleet_server.ds.listblock cimport (
    LB_PLAIN, lb_at, lb_begin, lb_check, lb_cut, lb_insert, lb_listpack_check, lb_new, lb_save, lb_saved_size,
    lblock_t)
from cachefleet_server.ds.listpack cimport lp_entry_prev, lp_entry_put, lp_entry_size, lp_get, lp_item, lp_item_t
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.seq_checking cimport seq_check
from cachefleet_server.ds.seq_reading cimport *
from cachefleet_server.ds.sequence cimport *
from cachefleet_server.ds.seq_tree cimport seq_t
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t, heap_used


cdef object _python(const lp_item_t* e):
    return b"%d" % e.num if e.str == NULL else e.str[:e.len]


def entry(bytes element):
    """The element's entry, and what reading it forward and backward says."""
    cdef lp_item_t e, forward, backward
    cdef bytearray out
    lp_item(element, len(element), &e)
    out = bytearray(lp_entry_size(&e))
    lp_entry_put(out, &e)
    lp_get(out, &forward)
    lp_get(lp_entry_prev(<char*>out + len(out)), &backward)
    return bytes(out), _python(&forward), _python(&backward)


def listpack_check(bytes data):
    """None if it is no listpack, else the number of elements and whether some are odd."""
    cdef bint odd = False
    cdef size_t count = lb_listpack_check(data, len(data), &odd)
    return (count - 1, bool(odd)) if count else None


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
cdef class Block:
    """A packed block of its own."""
    cdef Heap heap
    cdef lblock_t* b
    cdef size_t limit

    def __cinit__(self, Heap heap, size_t limit):
        self.heap = heap
        self.limit = limit
        self.b = lb_new(heap.h, 0, 0)

    def __dealloc__(self):
        owner_drop(self.heap.h, self.b)

    def insert(self, size_t i, bytes element):
        """False: no room."""
        cdef lp_item_t e
        lp_item(element, len(element), &e)
        if self.b.bytes + lp_entry_size(&e) > self.limit:
            return False
        lb_insert(self.heap.h, &self.b, lb_at(self.b, i) - lb_begin(self.b), &e, self.limit)
        return True

    def cut(self, size_t i, size_t j):
        lb_cut(self.heap.h, &self.b, i, j)

    def elements(self):
        cdef lp_item_t e
        result = []
        for i in range(self.b.count):
            lp_get(lb_at(self.b, i), &e)
            result.append(_python(&e))
        return result

    def check(self):
        error = lb_check(self.heap.h, self.b) if self.b.count else 0
        assert error == 0, error

    @property
    def capacity(self):
        return self.b.capacity

    @property
    def bytes(self):
        return self.b.bytes


@cython.final
cdef class Sequence:
    """One owner. Every method that writes asks seq_own first, as commands do."""
    cdef Heap heap
    cdef seq_t* s

    def __init__(self, Heap heap, int fill=-2, int depth=0):
        self.heap = heap
        self.s = seq_new(heap.h, fill, depth)

    def __dealloc__(self):
        if self.s != NULL:
            seq_release(self.heap.h, self.s)

    def __len__(self):
        return seq_len(self.s)

    cdef seq_t* _own(self):
        self.s = seq_own(self.heap.h, self.s)
        return self.s

    def share(self):
        cdef Sequence other = Sequence.__new__(Sequence)
        other.heap = self.heap
        other.s = seq_share(self.s)
        return other

    def close(self):
        seq_release(self.heap.h, self.s)
        self.s = NULL

    def drain(self, size_t budget):
        """Gives it up in steps, as a helper thread: with a heap of its own. Returns the steps."""
        cdef heap_t own
        cdef size_t steps = 1
        memset(&own, 0, sizeof(own))
        with nogil:
            while not seq_drain(&own, self.s, budget):
                steps += 1
        self.s = NULL
        cf_atomic_add(&self.heap.h.freed_remote, 0 - own.used)
        return steps

    def check(self):
        error = seq_check(self.heap.h, self.s)
        assert error == 0, f"sequence invariant {error} is broken"

    # -- writing

    def push(self, bytes element, bint front=False):
        seq_push(self.heap.h, self._own(), front, element, len(element))

    def pop(self, bint front=False):
        cdef lp_item_t e
        self._own()
        seq_peek(self.s, front, &e)
        result = _python(&e)
        seq_pop(self.heap.h, self.s, front)
        return result

    def insert(self, size_t i, bytes element, bint after=False):
        seq_insert(self.heap.h, self._own(), i, after, element, len(element))

    def set(self, size_t i, bytes element):
        seq_set(self.heap.h, self._own(), i, element, len(element))

    def remove(self, size_t a, size_t b):
        seq_remove(self.heap.h, self._own(), a, b)

    def append_listpack(self, bytes data):
        return bool(seq_append_listpack(self.heap.h, self._own(), data, len(data)))

    # -- reading

    def read(self, size_t i, size_t n, bint back=False):
        """At most n elements from i on."""
        cdef seq_iter_t it
        cdef lp_item_t e
        result = []
        seq_seek(&it, self.heap.h, self.s, i, back)
        while n and seq_next(&it, &e):
            result.append(_python(&e))
            n -= 1
        seq_done(&it)
        return result

    def find(self, bytes element, size_t i, bint back, size_t most):
        """Places after i of all equal elements among `most`, and of where the search ended."""
        cdef seq_iter_t it
        cdef lp_item_t wanted
        cdef size_t passed
        cdef size_t at = 0
        lp_item(element, len(element), &wanted)
        found = []
        seq_seek(&it, self.heap.h, self.s, i, back)
        while seq_find(&it, &wanted, most - at, &passed):
            found.append(at + passed)
            at += passed + 1
        seq_done(&it)
        return found, at + passed

    def save(self):
        """(is it plain, bytes, was it compressed) for each block."""
        cdef seq_iter_t it
        cdef const lblock_t* b
        cdef bytearray out
        result = []
        seq_seek(&it, self.heap.h, self.s, 0, False)
        while seq_block(&it) != NULL:
            b = seq_block(&it)
            out = bytearray(lb_saved_size(b))
            if b.form & LB_PLAIN:
                memcpy(<char*>out, lb_begin(b), b.bytes)
            else:
                lb_save(b, out)
            result.append((bool(b.form & LB_PLAIN), bytes(out), it.own != NULL))
            seq_block_next(&it)
        seq_done(&it)
        return result

    @property
    def bytes(self):
        return seq_bytes(self.s)

    @property
    def memory(self):
        return seq_memory(self.s)

    @property
    def blocks(self):
        return seq_blocks(self.s)

    @property
    def levels(self):
        return 0 if self.s.top == NULL else self.s.top.level + 1


@cython.final
cdef class SequenceBench:
    """n elements of `size` bytes; each phase returns ns of CPU per operation."""
    cdef heap_t* heap
    cdef seq_t* s
    cdef size_t n
    cdef size_t size
    cdef uint64_t rng
    cdef char* text

    def __cinit__(self, size_t n, size_t size=10, int depth=0):
        self.n = n
        self.size = max(size, <size_t>8)
        self.rng = 42
        self.heap = heap_new()
        self.s = seq_new(self.heap, -2, depth)
        self.text = <char*>malloc(self.size)
        memset(self.text, c"x", self.size)

    def __dealloc__(self):
        seq_release(self.heap, self.s)
        heap_free(self.heap)
        free(self.text)

    cdef inline const char* _element(self, size_t i) noexcept nogil:
        cdef int digit
        for digit in range(7):
            self.text[7 - digit] = 97 + i % 26
            i //= 26
        return self.text

    def push(self, bint front):
        cdef int64_t start = cf_thread_ns()
        cdef size_t i
        with nogil:
            for i in range(self.n):
                seq_push(self.heap, self.s, front, self._element(i), self.size)
        return (cf_thread_ns() - start) / self.n

    def pop(self, bint front, size_t n):
        cdef lp_item_t e
        cdef int64_t start = cf_thread_ns()
        cdef size_t sum = 0
        with nogil:
            for _ in range(n):
                seq_peek(self.s, front, &e)
                sum += e.len
                seq_pop(self.heap, self.s, front)
        assert sum == n * self.size
        return (cf_thread_ns() - start) / n

    def rotate(self, size_t n):
        """RPOPLPUSH of a list with itself."""
        cdef lp_item_t e
        cdef int64_t start = cf_thread_ns()
        with nogil:
            for _ in range(n):
                seq_peek(self.s, False, &e)
                memcpy(self.text, e.str, self.size)
                seq_pop(self.heap, self.s, False)
                seq_push(self.heap, self.s, True, self.text, self.size)
        return (cf_thread_ns() - start) / n

    def read(self, size_t n, size_t length):
        """`length` elements at random places."""
        cdef seq_iter_t it
        cdef lp_item_t e
        cdef size_t _k
        cdef size_t sum = 0
        cdef int64_t start = cf_thread_ns()
        with nogil:
            for _ in range(n):
                seq_seek(&it, self.heap, self.s, rng_next(&self.rng) % (self.s.len - length), False)
                for _k in range(length):
                    seq_next(&it, &e)
                    sum += e.len
                seq_done(&it)
        assert sum == n * length * self.size
        return (cf_thread_ns() - start) / n

    def find(self):
        """ns per element that was looked at, in a search for what is not there."""
        cdef seq_iter_t it
        cdef lp_item_t wanted
        cdef size_t passed
        cdef int64_t start = cf_thread_ns()
        lp_item(b"y" * self.size, self.size, &wanted)
        with nogil:
            seq_seek(&it, self.heap, self.s, 0, False)
            seq_find(&it, &wanted, self.s.len, &passed)
            seq_done(&it)
        assert passed == self.s.len
        return (cf_thread_ns() - start) / <double>self.s.len

    def insert(self, size_t n):
        cdef int64_t start = cf_thread_ns()
        with nogil:
            for i in range(n):
                seq_insert(self.heap, self.s, rng_next(&self.rng) % self.s.len, False, self._element(i), self.size)
        return (cf_thread_ns() - start) / n

    def set(self, size_t n):
        cdef int64_t start = cf_thread_ns()
        with nogil:
            for i in range(n):
                seq_set(self.heap, self.s, rng_next(&self.rng) % self.s.len, self._element(i), self.size)
        return (cf_thread_ns() - start) / n

    def remove(self, size_t n):
        cdef int64_t start = cf_thread_ns()
        cdef size_t i
        with nogil:
            for _ in range(n):
                i = rng_next(&self.rng) % self.s.len
                seq_remove(self.heap, self.s, i, i + 1)
        return (cf_thread_ns() - start) / n

    def set_shared(self, size_t n):
        """Each one the first write after another owner came: what a snapshot costs a write at most."""
        cdef int64_t start
        cdef int64_t total = 0
        cdef seq_t* other
        cdef size_t i
        with nogil:
            for i in range(n):
                other = seq_share(self.s)
                start = cf_thread_ns()
                self.s = seq_own(self.heap, self.s)
                seq_set(self.heap, self.s, rng_next(&self.rng) % self.s.len, self._element(i), self.size)
                total += cf_thread_ns() - start
                seq_release(self.heap, other)
        return total / n

    def trim(self):
        """us for LTRIM to the middle half, and for freeing the rest."""
        cdef int64_t start = cf_thread_ns()
        cdef int64_t middle
        seq_remove(self.heap, self.s, 0, self.s.len / 4)
        seq_remove(self.heap, self.s, self.s.len * 2 / 3, self.s.len)
        middle = cf_thread_ns()
        seq_release(self.heap, self.s)
        self.s = seq_new(self.heap, -2, 0)
        return (middle - start) / 1000, (cf_thread_ns() - middle) / 1000

    @property
    def bytes_per_element(self):
        return heap_used(self.heap) / <double>self.s.len
