"""The loader of RDB files, for those who read one otherwise: record by record (rdb_walk.pyx)."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport db_t, engine_t, keyspace_t, rdb_in_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.engine cimport Engine, Keyspace
from cachefleet_server.persistence.mapping cimport mapping_t

cdef enum:
    GROUP = 16  # records parsed before their entries are inserted

    # What stopped the parser.
    STOP_BUDGET = 0
    STOP_END = 1
    STOP_AUX = 2  # a pair follows
    STOP_MODULE = 3  # a module's auxiliary data follows
    STOP_INPUT = 4  # rdb_in_t.error
    STOP_DATABASE = 5  # a database number that is not configured
    STOP_FUNCTIONS = 6
    STOP_OPCODE = 7  # an unknown opcode
    STOP_DUPLICATE = 8

cdef struct waiting_t:  # a parsed record that is not inserted yet
    entry_t* entry
    uint64_t hash
    int64_t lru  # bits for the entry, -1 = those of a new one
    uint64_t offset

cdef struct left_out_t:
    int dbid
    size_t nk

cdef struct loader_t:
    engine_t* engine
    keyspace_t* keyspace  # what is loaded into
    rdb_in_t input
    mapping_t file
    db_t* db
    bint walks  # every database of the file is read, into none of these
    int dbid  # that the file is in
    int stop_detail  # opcode
    uint64_t stop_offset
    bint skip_expired
    bint journal_expired
    buf_t left_out  # left_out_t and key, of each expired key that the journal is to hear of
    bint replace
    # attributes of the next key
    int64_t expire_ms
    int64_t idle_s
    int64_t frequency
    # totals
    uint64_t keys
    uint64_t expired
    uint64_t empty
    uint64_t reserve_left  # keys that hints may still reserve room for
    waiting_t waiting[GROUP]
    int waiting_count

cdef inline uint64_t load_offset(const loader_t* l) noexcept nogil:
    return <const char*>l.input.p - l.file.base

cdef int load_opcode(loader_t* l, int opcode) noexcept nogil
    # Everything that is not a key. STOP_BUDGET to go on, or what the caller must see to.
cdef entry_t* load_record(
    loader_t* l, int type_byte, int64_t expire_ms, uint64_t* hash, int* stop) noexcept nogil
    # A key and its value, and the key's hash; NULL: there is none to be had, and *stop says how to go on.

cdef class RdbLoader:
    cdef Engine engine
    cdef Keyspace into
    cdef loader_t l
    cdef readonly str path
    cdef readonly int version
    cdef readonly bint valkey
    cdef readonly dict aux
    cdef readonly list skipped_modules
    cdef readonly uint64_t checksum  # that the file ends with; 0: none
    cdef bint verify
    cdef bint at_end
    cdef uint64_t crc
    cdef uint64_t crc_done  # bytes that crc covers
    cdef uint64_t keys_reported
    cdef uint64_t expired_reported
    cdef uint64_t bytes_reported
    cdef int _map(self) except -1
    cdef int _read_header(self) except -1
    cdef int _heed(self, int stop) except -1  # sees to what stopped the parser
    cdef int _account(self) except -1
    cdef int _verify(self) except -1
    cdef object _string(self)
    cdef int _read_aux(self) except -1
    cdef int _skip_module(self) except -1
    cdef int _raise(self, int stop) except -1
    cdef object _error(self, str text)  # that this is wrong with the file, and what to do
