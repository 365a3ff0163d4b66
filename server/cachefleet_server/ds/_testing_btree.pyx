"""Members and the ordered index as Python classes: for tests, and a benchmark whose loops run without Python."""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from cachefleet_server.ds.bt_checking cimport bt_check
from cachefleet_server.ds.bt_iter cimport (
    bt_iter_rank, bt_iter_t, bt_next, bt_prev, bt_seek, bt_seek_key, bt_seek_rank, bt_seek_word)
from cachefleet_server.ds.btree cimport (
    bt_build, bt_double, bt_first, bt_free, bt_init, bt_insert, bt_last, bt_memory, bt_remove, bt_remove_range,
    bt_replace, bt_rescore, bt_sort, btree_t)
from cachefleet_server.ds.intrin cimport cf_load64, cf_store64, cf_thread_ns
from cachefleet_server.ds.member cimport (
    MEMBER_HASH, MEMBER_SET, MEMBER_TTL, MEMBER_ZSET, member_expiry, member_free, member_key, member_memory, member_new,
    member_score, member_set_expiry, member_set_form, member_set_score, member_set_value, member_size, member_size_of,
    member_value)
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t, heap_used, zfree, zmalloc, zsmall_free

SET, HASH, ZSET, TTL = MEMBER_SET, MEMBER_HASH, MEMBER_ZSET, MEMBER_TTL


@cython.final
cdef class Member:
    """One element of any form."""

    cdef heap_t* heap
    cdef void* p
    cdef int form

    def __cinit__(self, int form, bytes key, bytes value=b""):
        self.heap = heap_new()
        self.form = form
        self.p = member_new(self.heap, form, key, len(key), value, len(value))
        if form & MEMBER_TTL:
            member_set_expiry(self.p, 0)
        if form & MEMBER_ZSET:
            member_set_score(self.p, form, 0)
        assert member_size(self.p, form) == member_size_of(form, len(key), len(value))

    def __dealloc__(self):
        if self.p != NULL:
            member_free(self.heap, self.p, self.form)
        heap_free(self.heap)

    def free(self, bint remote):
        """As another thread would; the bytes left."""
        cdef heap_t own
        memset(&own, 0, sizeof(own))
        if remote:
            member_free(&own, self.p, self.form)
            self.heap.used += own.used  # as a helper's is added
        else:
            member_free(self.heap, self.p, self.form)
        self.p = NULL
        return heap_used(self.heap)

    def set_value(self, bytes value):
        """Whether it stayed where it was."""
        cdef void* before = self.p
        self.p = member_set_value(self.heap, self.p, self.form, value, len(value))
        return self.p == before

    def set_form(self, int form):
        self.p = member_set_form(self.heap, self.p, self.form, form)
        self.form = form

    @property
    def key(self):
        cdef size_t n
        cdef const char* p = member_key(self.p, self.form, &n)
        return p[:n]

    @property
    def value(self):
        cdef size_t n
        cdef const char* p = member_value(self.p, self.form, &n)
        return p[:n]

    @property
    def score(self): return member_score(self.p, self.form)

    @score.setter
    def score(self, double score): member_set_score(self.p, self.form, score)

    @property
    def expiry(self): return member_expiry(self.p)

    @expiry.setter
    def expiry(self, int64_t at_ms): member_set_expiry(self.p, at_ms)

    @property
    def size(self): return member_size(self.p, self.form)

    @property
    def memory(self): return member_memory(self.p, self.form)

    @property
    def heap_used(self): return heap_used(self.heap)


@cython.final
cdef class Tree:
    """An index over elements of its own, one a member. The word is a float, or an int where `is_double` is false.

    `form` is that of the elements; `offset` where in one the word lies that counts.
    """

    cdef heap_t* heap
    cdef btree_t tree
    cdef int form
    cdef int offset
    cdef dict elements  # member -> address of the word
    cdef list gone  # from callbacks

    def __cinit__(self, bint is_double=True, int form=MEMBER_ZSET, int offset=0, int key_at=8):
        self.heap = heap_new()
        self.form = form
        self.offset = offset
        self.elements = {}
        self.gone = []
        bt_init(&self.tree, self.heap, is_double, key_at)

    def __dealloc__(self):
        heap_free(self.heap)  # with all that is in slabs; close() before, to see what else leaks

    def __len__(self): return self.tree.count

    cdef uint64_t _bits(self, word) except? 0:
        return bt_double(word) if self.tree.is_double else <uint64_t><int64_t>word

    cdef void* _new(self, word, bytes member) except NULL:
        cdef char* p = <char*>member_new(self.heap, self.form, member, len(member), b"", 0)
        memset(p, 0xA5, self.tree.key_at - 8 + self.offset)  # what the tree must not look at
        cf_store64(p + self.offset, self._bits(word))
        return p + self.offset

    cdef tuple _pair(self, void* element):
        cdef size_t n
        cdef const char* p = member_key(<char*>element - self.offset, self.form, &n)
        cdef uint64_t bits = cf_load64(element)
        return ((<double*>&bits)[0] if self.tree.is_double else <int64_t>bits, p[:n])

    cdef void* _find(self, bytes member) except NULL:
        return <void*><size_t>self.elements[member]

    cdef void _forget(self, void* element):
        pair = self._pair(element)
        self.gone.append(pair)
        del self.elements[pair[1]]
        member_free(self.heap, <char*>element - self.offset, self.form)

    def check(self):
        wrong = bt_check(&self.tree)
        assert wrong == 0, f"invariant {wrong} of the tree is broken"

    def close(self, bint remote=False):
        """Frees everything, as the helper thread does or at once; the bytes that were not given back."""
        cdef heap_t own
        memset(&own, 0, sizeof(own))
        bt_free(&self.tree, &own if remote else self.heap, _on_gone, <void*>self)
        self.heap.used += own.used
        left = heap_used(self.heap)
        bt_init(&self.tree, self.heap, self.tree.is_double, self.tree.key_at)
        return left

    def insert(self, word, bytes member):
        assert member not in self.elements
        cdef void* p = self._new(word, member)
        self.elements[member] = <size_t>p
        bt_insert(&self.tree, p)

    def remove(self, bytes member):
        cdef void* p = self._find(member)
        assert bt_remove(&self.tree, p)
        assert not bt_remove(&self.tree, p)
        self._forget(p)

    def rescore(self, bytes member, word):
        bt_rescore(&self.tree, self._find(member), self._bits(word))

    def replace(self, bytes member):
        """The element moves to another address."""
        cdef void* p = self._find(member)
        cdef void* other = self._new(self._pair(p)[0], member)
        bt_replace(&self.tree, p, other)
        self.elements[member] = <size_t>other
        member_free(self.heap, <char*>p - self.offset, self.form)

    def build(self, list pairs, bint sort=False):
        """Adds (word, member) that lie beyond all others."""
        cdef size_t n = len(pairs)
        cdef void** p = <void**>zmalloc(self.heap, (n + 1) * sizeof(void*))
        cdef size_t i
        for i in range(n):
            word, member = pairs[i]
            assert member not in self.elements
            p[i] = self._new(word, member)
            self.elements[member] = <size_t>p[i]
        if sort:
            bt_sort(&self.tree, p, n)
        bt_build(&self.tree, p, n)
        zfree(self.heap, p)

    def remove_range(self, size_t first, size_t n, bint with_callback=True):
        """What was removed, in the order of the callbacks."""
        cdef list gone
        if with_callback:
            self.gone = []
            bt_remove_range(&self.tree, first, n, _on_gone, <void*>self)
            return self.gone
        gone = self.forward_from_rank(first, n)
        bt_remove_range(&self.tree, first, n, NULL, NULL)
        for _, member in gone:
            self._forget(self._find(member))
        return gone

    def rank(self, bytes member):
        cdef bt_iter_t it
        assert bt_seek(&self.tree, self._find(member), &it)
        return bt_iter_rank(&it)

    def is_there(self, word, bytes member):
        """Whether an element is found that was never put in."""
        cdef bt_iter_t it
        cdef void* p = self._new(word, member)
        cdef bint found = bt_seek(&self.tree, p, &it)
        member_free(self.heap, <char*>p - self.offset, self.form)
        return found

    def rank_of_word(self, word, bint behind):
        cdef bt_iter_t it
        bt_seek_word(&self.tree, self._bits(word), behind, &it)
        return bt_iter_rank(&it)

    def rank_of_key(self, word, bytes member, bint behind):
        cdef bt_iter_t it
        bt_seek_key(&self.tree, self._bits(word), member, len(member), behind, &it)
        return bt_iter_rank(&it)

    def forward_from_rank(self, size_t rank, size_t n):
        cdef bt_iter_t it
        bt_seek_rank(&self.tree, rank, &it)
        assert bt_iter_rank(&it) == min(rank, self.tree.count)
        return self._walk(&it, n, False)

    def backward_from_rank(self, size_t rank, size_t n):
        cdef bt_iter_t it
        bt_seek_rank(&self.tree, rank, &it)
        return self._walk(&it, n, True)

    def from_word(self, word, bint behind, size_t n, bint back):
        cdef bt_iter_t it
        bt_seek_word(&self.tree, self._bits(word), behind, &it)
        return self._walk(&it, n, back)

    def from_key(self, word, bytes member, bint behind, size_t n, bint back):
        cdef bt_iter_t it
        bt_seek_key(&self.tree, self._bits(word), member, len(member), behind, &it)
        return self._walk(&it, n, back)

    cdef list _walk(self, bt_iter_t* it, size_t n, bint back):
        cdef list out = []
        cdef size_t before
        cdef void* p
        while <size_t>len(out) < n:
            before = bt_iter_rank(it)
            p = bt_prev(it) if back else bt_next(it)
            if p == NULL:
                assert bt_iter_rank(it) == before
                break
            assert bt_iter_rank(it) == (before - 1 if back else before + 1)
            out.append(self._pair(p))
        return out

    @property
    def first(self):
        cdef void* p = bt_first(&self.tree)
        return None if p == NULL else self._pair(p)

    @property
    def last(self):
        cdef void* p = bt_last(&self.tree)
        return None if p == NULL else self._pair(p)

    @property
    def levels(self): return self.tree.root.level + 1

    @property
    def leaves(self): return self.tree.leaves

    @property
    def memory(self): return bt_memory(&self.tree)

    @property
    def element_memory(self):
        return sum(
            member_memory(<char*><void*><size_t>p - self.offset, self.form) for p in self.elements.values())

    @property
    def heap_used(self): return heap_used(self.heap)


cdef void _on_gone(void* ctx, void* element) noexcept with gil:
    (<Tree>ctx)._forget(element)


cdef inline uint64_t _random(uint64_t* state) noexcept nogil:
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0]


@cython.final
cdef class BTreeBench:
    """n elements with 20-byte members; each phase returns ns of CPU per operation."""

    cdef heap_t* heap
    cdef btree_t tree
    cdef void** elements
    cdef size_t n
    cdef uint64_t rng
    cdef bint equal

    def __cinit__(self, size_t n, bint equal=False, bint ascending=False):
        cdef char member[20]
        cdef size_t i, j
        cdef uint64_t v
        self.n = n
        self.rng = 42
        self.equal = equal
        self.heap = heap_new()
        bt_init(&self.tree, self.heap, True, 8)
        self.elements = <void**>zmalloc(self.heap, n * sizeof(void*))
        for i in range(n):
            v = i if ascending else _random(&self.rng)
            for j in range(20):
                member[19 - j] = b"0"[0] + v % 10
                v //= 10
            self.elements[i] = member_new(self.heap, MEMBER_ZSET, member, 20, NULL, 0)
            member_set_score(
                self.elements[i], MEMBER_ZSET, 0 if equal else i if ascending else self._score())
        if not ascending:
            self.shuffle()

    def __dealloc__(self):
        bt_free(&self.tree, self.heap, NULL, NULL)
        for i in range(self.n):
            zsmall_free(self.heap, self.elements[i])
        zfree(self.heap, self.elements)
        heap_free(self.heap)

    cdef inline double _score(self) noexcept nogil:
        return (_random(&self.rng) >> 11) / 9007199254740992.0

    def shuffle(self):
        """No phase meets the elements in the order of their addresses."""
        cdef size_t i, j
        for i in range(self.n - 1, 0, -1):
            j = _random(&self.rng) % (i + 1)
            self.elements[i], self.elements[j] = self.elements[j], self.elements[i]

    def insert(self):
        cdef int64_t start = cf_thread_ns()
        cdef size_t i
        with nogil:
            for i in range(self.n):
                bt_insert(&self.tree, self.elements[i])
        return (cf_thread_ns() - start) / self.n

    def build(self):
        """Sorting and filling; the tree is emptied before."""
        cdef int64_t start
        bt_remove_range(&self.tree, 0, self.n, NULL, NULL)
        self.shuffle()
        start = cf_thread_ns()
        with nogil:
            bt_sort(&self.tree, self.elements, self.n)
            bt_build(&self.tree, self.elements, self.n)
        return (cf_thread_ns() - start) / self.n

    def rank(self):
        cdef int64_t start = cf_thread_ns()
        cdef bt_iter_t it
        cdef size_t wrong = 0
        cdef size_t i
        with nogil:
            for i in range(self.n):
                if not bt_seek(&self.tree, self.elements[i], &it) or bt_iter_rank(&it) >= self.n:
                    wrong += 1
        assert not wrong
        return (cf_thread_ns() - start) / self.n

    def rescore(self, double by):
        """by 0: any other score; else a change so small."""
        cdef int64_t start = cf_thread_ns()
        cdef size_t i
        cdef double score
        with nogil:
            for i in range(self.n):
                score = member_score(self.elements[i], MEMBER_ZSET) + by if by else self._score()
                bt_rescore(&self.tree, self.elements[i], bt_double(score))
        return (cf_thread_ns() - start) / self.n

    def range(self, size_t m, size_t rounds):
        """m elements from a random rank on, each copied as a reply would."""
        cdef int64_t start = cf_thread_ns()
        cdef char out[64]
        cdef bt_iter_t it
        cdef void* p
        cdef size_t _round, _step, n
        cdef const char* key
        with nogil:
            for _round in range(rounds):
                bt_seek_rank(&self.tree, _random(&self.rng) % self.n, &it)
                for _step in range(m):
                    p = bt_next(&it)
                    if p == NULL:
                        break
                    key = member_key(p, MEMBER_ZSET, &n)
                    memcpy(out, key, n)
        return (cf_thread_ns() - start) / rounds

    def remove(self):
        cdef int64_t start = cf_thread_ns()
        cdef size_t i
        with nogil:
            for i in range(self.n):
                bt_remove(&self.tree, self.elements[i])
        return (cf_thread_ns() - start) / self.n

    @property
    def bytes_per_element(self): return bt_memory(&self.tree) / <double>self.tree.count
