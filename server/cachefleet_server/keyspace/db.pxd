"""Databases: lookup with expiry and LRU, insertion, deletion; the only code that changes the tables.

Rules every caller keeps:
- read with lookup_read*, and call lookup_write (or db_will_change) before changing a value in place: it tells
  a running snapshot;
- an entry function that may move the entry (core/entry.pxd) is followed by db_replace with the old and new address;
- after a change: signal_modified (watchers, tracking), notify, engine.persist.dirty += 1.

Keys are arg_t; `hash` is computed on demand and cached in the argument (it was usually computed while parsing).
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.resp.input cimport blob_t

cdef enum:
    LOOKUP_NOTOUCH = 1  # do not update LRU/LFU
    LOOKUP_NOSTATS = 2  # do not count a hit or miss
    LOOKUP_NOEXPIRE = 4  # do not delete an expired key, but do not return it either
    LOOKUP_WRITE = 8

    SET_KEEP_TTL = 1

cdef inline uint64_t arg_hash(const engine_t* e, arg_t* a) noexcept nogil:
    if a.hash == 0:
        a.hash = hash_bytes(a.ptr, a.len, &e.seed)
    return a.hash

cdef void dbs_new(engine_t* e, int count) noexcept nogil
cdef void dbs_free(engine_t* e) noexcept nogil

# Lookup on behalf of a client: c.db, CLIENT NO-TOUCH, statistics.
cdef entry_t* lookup_read(client_t* c, arg_t* key) noexcept nogil
cdef entry_t* lookup_write(client_t* c, arg_t* key) noexcept nogil
cdef entry_t* lookup_flags(client_t* c, db_t* db, arg_t* key, int flags) noexcept nogil
# "or reply": the common first lines of a command. False means that the reply has been sent.
cdef bint string_or_reply(client_t* c, entry_t* entry) noexcept nogil  # WRONGTYPE unless NULL or a string
cdef bint type_or_reply(client_t* c, entry_t* entry, int type) noexcept nogil

# Without a client (loading, expiry, eviction).
cdef entry_t* db_find(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil  # no expiry, no LRU
cdef void db_insert(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil  # key absent; takes the entry; sets its LRU
cdef void db_will_change(db_t* db, uint64_t hash) noexcept nogil
cdef void db_replace(db_t* db, entry_t* old, entry_t* new, uint64_t hash) noexcept nogil
    # `new` has the same key and may differ in address, value and expiry; `old` may be freed already and is only
    # compared by address. Keeps `expires` right.
cdef entry_t* db_unlink(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil  # removed, now the caller's
cdef bint db_delete(db_t* db, const char* key, size_t nk, uint64_t hash, bint lazy) noexcept nogil

# What SET, INCR and the like do: create or overwrite, any old type. `old` from lookup_write, or NULL.
cdef entry_t* db_set_string(db_t* db, arg_t* key, entry_t* old, const char* v, size_t nv, int64_t expire_ms, int flags) noexcept nogil
cdef entry_t* db_set_int(db_t* db, arg_t* key, entry_t* old, int64_t v, int64_t expire_ms, int flags) noexcept nogil
cdef entry_t* db_set_blob(db_t* db, arg_t* key, entry_t* old, blob_t* blob, int64_t expire_ms, int flags) noexcept nogil
cdef entry_t* db_set_expire(db_t* db, entry_t* entry, uint64_t hash, int64_t expire_ms) noexcept nogil  # -1 removes

cdef void db_flush(engine_t* e, int dbid, bint lazy) noexcept nogil  # dbid -1 = all
cdef void db_swap(engine_t* e, int a, int b) noexcept nogil
cdef void dbs_cron(engine_t* e) noexcept nogil  # <= 1 ms: rehash steps and shrinking of tables when activerehashing
cdef entry_t* db_random(db_t* db) noexcept nogil  # fair; may be expired

# After a change.
cdef void signal_modified(client_t* c, db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil
cdef void notify(engine_t* e, int event, const char* name, const char* key, size_t nk, int dbid) noexcept nogil

cdef enum:  # classes of notify-keyspace-events
    NOTIFY_KEYSPACE = 1
    NOTIFY_KEYEVENT = 2
    NOTIFY_GENERIC = 4
    NOTIFY_STRING = 8
    NOTIFY_LIST = 16
    NOTIFY_SET = 32
    NOTIFY_HASH = 64
    NOTIFY_ZSET = 128
    NOTIFY_EXPIRED = 256
    NOTIFY_EVICTED = 512
    NOTIFY_STREAM = 1024
    NOTIFY_KEY_MISS = 2048
    NOTIFY_NEW = 8192

cdef int db_check(db_t* db) noexcept nogil  # both tables, and that `expires` is exactly the E_EXPIRE entries
