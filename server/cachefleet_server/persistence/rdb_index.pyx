"""What an RDB file holds, at 24 bytes a key: enough to say of a record of another file if it is here, and the same.

A row has hashes of the key and of the value, the type, and the time of expiry as it is. Rows are added, then sorted,
then found. 72 bits name a key: of two files with 100 million keys each, two different ones are taken for one another
once in 400 000 comparisons; 48 bits name the value of that key, and are compared only with that key's.

Whoever hashes, hashes the whole name of a key: its database, too.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport bsearch, free, qsort, realloc
from libc.string cimport memcmp, memcpy

KEY_BYTES, VALUE_BYTES = _KEY, _VALUE

cdef enum:
    _KEY = 9
    _VALUE = 6
    SEEN = 0x80  # in `type`: was found
    FEW = 1024  # rows of the first allocation

cdef struct row_t:
    uint8_t key[9]
    uint8_t type
    uint8_t value[6]
    int64_t expire_ms


cdef int _compare(const void* a, const void* b) noexcept nogil:
    return memcmp(a, b, _KEY)


cdef class RdbIndex:
    """See rdb_index.pyi."""

    cdef row_t* rows
    cdef size_t count
    cdef size_t cap
    cdef readonly size_t unseen

    def __dealloc__(self):
        free(self.rows)

    def __len__(self):
        return self.count

    def add(self, bytes key not None, int type, bytes value not None, int64_t expire_ms):
        cdef row_t* grown
        cdef row_t* row
        cdef size_t cap
        if len(key) != _KEY or len(value) != _VALUE or not 0 <= type < SEEN:
            raise ValueError("hashes of other sizes")
        if self.count == self.cap:
            cap = self.cap + self.cap // 4 + FEW
            grown = <row_t*>realloc(self.rows, cap * sizeof(row_t))
            if grown == NULL:
                raise MemoryError
            self.rows = grown
            self.cap = cap
        row = &self.rows[self.count]
        memcpy(row.key, <const char*>key, _KEY)
        memcpy(row.value, <const char*>value, _VALUE)
        row.type = <uint8_t>type
        row.expire_ms = expire_ms
        self.count += 1
        self.unseen += 1

    def sort(self):
        cdef size_t i
        with nogil:
            if self.count:
                qsort(self.rows, self.count, sizeof(row_t), _compare)
        for i in range(1, self.count):
            if memcmp(self.rows[i].key, self.rows[i - 1].key, _KEY) == 0:
                return <bytes>self.rows[i].key[:_KEY]
        return None

    cdef row_t* _row(self, bytes key) except? NULL:
        if len(key) != _KEY:
            raise ValueError("a hash of another size")
        if self.count == 0:
            return NULL
        return <row_t*>bsearch(<const char*>key, self.rows, self.count, sizeof(row_t), _compare)

    def find(self, bytes key not None):
        cdef row_t* row = self._row(key)
        if row == NULL:
            return None
        if not row.type & SEEN:
            row.type |= SEEN
            self.unseen -= 1
        return row.type & ~SEEN, <bytes>row.value[:_VALUE], row.expire_ms

    def was_found(self, bytes key not None):
        cdef row_t* row = self._row(key)
        return row != NULL and row.type & SEEN != 0
