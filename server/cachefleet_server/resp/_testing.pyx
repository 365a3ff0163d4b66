"""The parser and the writer as Python classes, for tests and fuzzing; not part of wheels.

A `Parser` takes bytes as reads of chosen sizes and plays the reactor's part: shared buffer, arena, batches, settling.
Requests turn into Python objects only when their batch "executes", so a pointer that went stale shows. Memory
that holds no input is filled with digits and, under ASAN, poisoned: a parser that looks beyond the input is caught.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cachefleet_server.ds.blob cimport blob_new, blob_t
from cachefleet_server.ds.owners cimport is_shared, owner_drop
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t
from cachefleet_server.resp.input cimport (
    INPUT_ERROR, INPUT_OK, arg_arena_t, arg_t, input_arrived, input_check, input_free, input_init,
    input_keep_rest, input_limits_t, input_memory, input_next, input_read_space, input_t, input_take_blob,
    input_unparsed, request_t)
from cachefleet_server.resp.writer cimport (
    chunk_pool_free, chunk_pool_init, chunk_pool_t, chunk_pool_trim, chunk_t, mark_t, out_array, out_attribute,
    out_bignum, out_bool, out_bulk, out_bulk_shared, out_check, out_clear, out_consume, out_double,
    out_error, out_init, out_insert, out_int, out_map, out_mark, out_memory, out_move, out_null,
    out_null_array, out_push, out_push_text, out_raw, out_set, out_simple, out_t, out_text, out_truncate, out_verbatim)

cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #else
    #define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
    #define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
    #endif
    """
    void ASAN_POISON_MEMORY_REGION(const void* p, size_t n) nogil
    void ASAN_UNPOISON_MEMORY_REGION(const void* p, size_t n) nogil

cdef enum:
    PENDING_MAX = 32


class ProtocolError(Exception):
    """The text after "-ERR Protocol error: ", as bytes, and the requests before it."""

    def __init__(self, text, requests):
        super().__init__(text)
        self.text = text
        self.requests = requests


cdef class Parser:
    """One connection's input. `feed` gives it bytes and returns the requests that they complete."""

    cdef heap_t* heap
    cdef input_t input
    cdef input_limits_t limits
    cdef arg_arena_t arena
    cdef request_t pending[PENDING_MAX]
    cdef int pending_count
    cdef char* shared
    cdef size_t shared_cap
    cdef public bint take_blobs
    cdef public int taken

    def __cinit__(self, *, size_t bulk_max=512 << 20, bint authenticated=True, size_t arena=256, size_t shared=65536):
        self.heap = heap_new()
        input_init(&self.input, self.heap)
        self.limits.bulk_max = bulk_max
        self.limits.authenticated = authenticated
        self.arena.args = <arg_t*>malloc(arena * sizeof(arg_t) + 1)
        self.arena.cap = arena
        self.shared = <char*>malloc(shared)
        self.shared_cap = shared

    def __dealloc__(self):
        input_free(&self.input)
        heap_free(self.heap)
        free(self.arena.args)
        free(self.shared)

    cdef object request(self, const request_t* r):
        cdef blob_t* blob
        cdef int i
        args = []
        total = 0
        for i in range(r.argc):
            args.append(r.argv[i].ptr[:r.argv[i].len])
            total += r.argv[i].len
            assert r.argv[i].hash == 0
            if self.take_blobs:
                blob = input_take_blob(&self.input, &r.argv[i])
                if blob != NULL:
                    assert blob.len == r.argv[i].len and &blob.data[0] == r.argv[i].ptr
                    assert input_take_blob(&self.input, &r.argv[i]) == NULL
                    owner_drop(self.heap, blob)
                    self.taken += 1
        assert r.argc == 0 or r.bytes == total
        return args, r.raw[:r.raw_len] if r.raw != NULL else None

    cdef void execute(self, list requests):
        cdef int i
        for i in range(self.pending_count):
            requests.append(self.request(&self.pending[i]))
        self.pending_count = 0
        self.arena.used = 0

    cdef size_t read(self, const char* data, size_t n) except 0:
        """One read of at most n bytes; how many it took."""
        cdef size_t cap = 0
        cdef size_t used
        cdef char* where
        ASAN_UNPOISON_MEMORY_REGION(self.shared, self.shared_cap)
        memset(self.shared, 0x30, self.shared_cap)
        where = input_read_space(&self.input, self.shared, self.shared_cap, &cap)
        assert cap > 0
        n = min(n, cap)
        memcpy(where, data, n)
        used = input_arrived(&self.input, where, n)
        assert used <= self.shared_cap
        if used:
            assert where + n == self.shared + used
        ASAN_POISON_MEMORY_REGION(self.shared + used, self.shared_cap - used)
        return n

    def feed(self, const unsigned char[::1] data not None, cuts=()):
        """The requests that data completes, as (arguments, raw). `cuts` are sizes of reads; then all that fits."""
        cdef const char* p = NULL
        cdef size_t left = data.shape[0]
        cdef int status
        cdef list requests = []
        sizes = iter(cuts)
        if left:
            p = <const char*>&data[0]
        while left:
            n = self.read(p, min(left, next(sizes, left)))
            p += n
            left -= n
            while True:
                status = input_next(&self.input, &self.limits, &self.arena, &self.pending[self.pending_count])
                if status != INPUT_OK:
                    break
                if self.pending[self.pending_count].argc:
                    self.pending_count += 1
                if self.pending_count == PENDING_MAX:
                    self.execute(requests)
            self.execute(requests)
            assert input_check(&self.input) == 0
            if status == INPUT_ERROR:
                raise ProtocolError(self.input.error[:self.input.error_len], requests)
            input_keep_rest(&self.input)
            assert input_check(&self.input) == 0
        return requests

    def repeat(self, const unsigned char[::1] data not None, int times):
        """Parses data, whole requests only, again and again; how many requests. For timing."""
        cdef long count = 0
        cdef int _
        cdef size_t cap = 0
        cdef char* where
        memcpy(self.shared, &data[0], data.shape[0])
        with nogil:
            for _ in range(times):
                where = input_read_space(&self.input, self.shared, self.shared_cap, &cap)
                input_arrived(&self.input, where, data.shape[0])
                while input_next(&self.input, &self.limits, &self.arena, &self.pending[0]) == INPUT_OK:
                    count += 1
                    self.pending_count += 1
                    if self.pending_count == PENDING_MAX:
                        self.pending_count = 0
                        self.arena.used = 0
                self.pending_count = 0
                self.arena.used = 0
                input_keep_rest(&self.input)
        return count

    def authenticate(self):
        self.limits.authenticated = True

    @property
    def heap_used(self):
        return self.heap.used

    @property
    def memory(self):
        return input_memory(&self.input)

    @property
    def unparsed(self):
        return input_unparsed(&self.input)


cdef class Writer:
    """One connection's output."""

    cdef heap_t* heap
    cdef chunk_pool_t pool
    cdef out_t out
    cdef out_t aside

    def __cinit__(self):
        self.heap = heap_new()
        chunk_pool_init(&self.pool, self.heap)
        out_init(&self.out, &self.pool)
        out_init(&self.aside, &self.pool)

    def __dealloc__(self):
        out_clear(&self.out)
        chunk_pool_free(&self.pool)
        heap_free(self.heap)

    def check(self):
        assert out_check(&self.out) == 0, out_check(&self.out)

    def close(self):
        """Frees everything and returns the bytes that are still accounted: 0."""
        out_clear(&self.out)
        chunk_pool_free(&self.pool)
        return self.heap.used

    def getvalue(self):
        cdef bytes data = PyBytes_FromStringAndSize(NULL, self.out.bytes)
        out_text(&self.out, PyBytes_AS_STRING(data))
        return data

    def simple(self, bytes text): out_simple(&self.out, text)

    def error(self, bytes text): out_error(&self.out, text, len(text))

    def integer(self, long long v): out_int(&self.out, v)

    def bulk(self, bytes v): out_bulk(&self.out, <char*>v, len(v))

    def shared(self, bytes v, size_t start, size_t n):
        """A bulk string of v[start:start + n] out of a blob that this output is the only owner of afterwards."""
        cdef blob_t* blob = blob_new(self.heap, len(v))
        blob.len = len(v)
        memcpy(&blob.data[0], <const char*>v, len(v))
        out_bulk_shared(&self.out, blob, &blob.data[0] + start, n)
        assert is_shared(blob)
        owner_drop(self.heap, blob)

    def raw(self, bytes v): out_raw(&self.out, <char*>v, len(v))

    def null(self, int resp): out_null(&self.out, resp)

    def null_array(self, int resp): out_null_array(&self.out, resp)

    def boolean(self, int resp, bint v): out_bool(&self.out, resp, v)

    def double(self, int resp, double v): out_double(&self.out, resp, v)

    def bignum(self, int resp, bytes v): out_bignum(&self.out, resp, v, len(v))

    def verbatim(self, int resp, bytes form, bytes v): out_verbatim(&self.out, resp, form, v, len(v))

    def array(self, long long n): out_array(&self.out, n)

    def map(self, int resp, long long n): out_map(&self.out, resp, n)

    def set(self, int resp, long long n): out_set(&self.out, resp, n)

    def push(self, int resp, long long n): out_push(&self.out, resp, n)

    def attribute(self, long long n): out_attribute(&self.out, n)

    def consume(self, size_t n):
        assert n <= self.out.bytes
        out_consume(&self.out, n)

    def mark(self):
        cdef mark_t m = out_mark(&self.out)
        return <size_t>m.chunk, m.offset

    def insert(self, mark, bytes type_byte, long long n):
        cdef mark_t m
        m.chunk = <chunk_t*><size_t>mark[0]
        m.offset = mark[1]
        out_insert(&self.out, m, type_byte[0], n)

    def truncate(self, mark):
        cdef mark_t m
        m.chunk = <chunk_t*><size_t>mark[0]
        m.offset = mark[1]
        out_truncate(&self.out, m)

    def turn_aside(self):
        """What follows goes into another output, until `move_back` appends it."""
        self.aside, self.out = self.out, self.aside

    def move_back(self):
        self.turn_aside()
        out_move(&self.out, &self.aside)
        assert self.aside.bytes == 0 and self.aside.head == NULL

    def push_text(self, int resp, bytes text): out_push_text(&self.out, resp, <const char*>text, len(text))

    def trim(self): chunk_pool_trim(&self.pool)

    def repeat_bulk(self, bytes v, int times):
        """Writes v again and again, dropping the output as it grows; for timing."""
        cdef const char* p = v
        cdef size_t n = len(v)
        cdef int _
        with nogil:
            for _ in range(times):
                out_bulk(&self.out, p, n)
                if self.out.bytes > 65536:
                    out_consume(&self.out, self.out.bytes)

    @property
    def heap_used(self):
        return self.heap.used

    @property
    def memory(self):
        return out_memory(&self.out)

    @property
    def free_chunks(self):
        return self.pool.free_count

    def __len__(self):
        return self.out.bytes
