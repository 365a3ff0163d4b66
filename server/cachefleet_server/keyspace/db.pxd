"""Databases: lookup with expiry and LRU, insertion, deletion; the only code that changes the tables.

Rules every caller keeps:
- read with lookup_read*, and call lookup_write (or db_will_change) before changing a value in place: it tells
  a running snapshot;
- an entry function that may move the entry (core/entry.pxd) is followed by db_replace with the old and new address;
  expiry changes only through db_set_expire and db_set_*, because the table of expiring keys must follow;
- after a change: key_changed, once a key; key_moved for two; key_deleted deletes and says so;
- the tables of a database are nobody else's business: db_len, db_scan, db_prefetch ... say what others need.

Keys are arg_t; `hash` is computed on demand and cached in the argument (it was usually computed while parsing).

Expired keys are invisible, unless the client's role says that they count as present (keyspace/expire.pxd). A lookup
that meets one deletes it (journal, notification, statistics: expire_now) and returns NULL; while CLIENT PAUSE or
import-mode stops expiry, reads leave it in place.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport CLIENT_NO_TOUCH, arg_t, client_t, db_t, engine_t
from cachefleet_server.core.entry cimport OBJ_STRING, entry_t, entry_type
from cachefleet_server.core.errors cimport ERR_WRONGTYPE
from cachefleet_server.core.reply cimport reply_error
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.bucket cimport ht_each_fn
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.hashtable cimport (
    hashtable_t, ht_announce, ht_candidate, ht_find, ht_freeze_fn, ht_len, ht_prefetch_bucket, ht_prefetch_element,
    ht_prefetch_overflow, ht_scan)
from cachefleet_server.ds.ht_stats cimport ht_stats_t
from cachefleet_server.ds.intrin cimport cf_likely, cf_unlikely
from cachefleet_server.keyspace.evict cimport entry_touch
from cachefleet_server.keyspace.expire cimport is_expired
from cachefleet_server.keyspace.interest cimport interest_changed

cdef enum:
    LOOKUP_NOTOUCH = 1  # do not update LRU/LFU
    LOOKUP_NOSTATS = 2  # do not count a hit or miss
    LOOKUP_DELETE = 4  # with LOOKUP_WRITE: to delete it, so an expired key that nobody may expire now is found
    LOOKUP_WRITE = 8  # the value may change: tells a snapshot; neither counts nor notifies a miss
    LOOKUP_NONOTIFY = 16  # no keymiss event
    LOOKUP_TOUCH = 32  # update LRU/LFU even for a CLIENT NO-TOUCH client (the TOUCH command)

    SET_KEEP_TTL = 1

cdef inline uint64_t arg_hash(const engine_t* e, arg_t* a) noexcept nogil:
    if a.hash == 0:
        a.hash = hash_bytes(a.ptr, a.len, &e.seed)
    return a.hash

# For keyspace/keyspace.pyx.
cdef void db_open(db_t* db, engine_t* e, int id) noexcept nogil  # zeroed memory becomes an empty database
cdef void db_release(db_t* db, bint lazy) noexcept nogil
    # Frees the content (lazy: on the helper thread); the database has none then. A snapshot that has not finished
    # with a table keeps it: engine.table_flushed_fn(e, dbid, keys) returning true takes table and entries over,
    # frozen as they are; the snapshot goes on with ht_freeze_step, ht_freeze_end, and then gives them to
    # lazyfree_table(e, keys, NULL). `expires` is freed at once in any case: it owns no entry.
cdef void db_exchange(db_t* a, db_t* b) noexcept nogil  # the contents; watchers have been told

cdef inline void db_will_change(db_t* db, uint64_t hash) noexcept nogil:
    """Before a value changes in place: a running snapshot serialises its chain first."""
    if cf_unlikely(db.keys.freeze_fn != NULL):
        ht_announce(db.keys, hash)

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

# After a change.
cdef inline void signal_modified(client_t* c, db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    """Tells who watches the key, waits for it or caches it; c may be NULL. Nearly free while nobody does."""
    if cf_unlikely(db.engine.keyspace.interests != 0):
        interest_changed(db, c, key, nk, hash)

cdef inline void notify(
    engine_t* e, int event, const char* name, const char* key, size_t nk, int dbid
) noexcept nogil:
    """Publishes a keyspace event of class `event` if notify-keyspace-events asks for it."""
    if cf_unlikely(e.notify_flags & event):
        e.notify_fn(e, event, name, key, nk, dbid)

cdef inline void key_changed(client_t* c, db_t* db, int cls, const char* event, const arg_t* key) noexcept nogil:
    """Who is interested, notification, count of changes, in that order. `c` made the change; NULL: the server itself.

    The key's hash has been computed. Whoever hears of it must not change the keyspace.
    """
    signal_modified(c, db, key.ptr, key.len, key.hash)
    notify(db.engine, cls, event, key.ptr, key.len, db.id)
    db.engine.persist.dirty += 1

cdef void key_moved(
    client_t* c, db_t* from_db, const char* from_event, arg_t* from_, db_t* to_db, const char* to_event, arg_t* to
) noexcept nogil
    # Two keys, one change: who is interested in either, then the events (NOTIFY_GENERIC), then the count.
cdef bint key_deleted(client_t* c, arg_t* key, bint lazy) noexcept nogil
    # Deletes a key of c's database as DEL does: key_changed with "del". False: it was not there.
cdef void key_stored(client_t* c, arg_t* key, int cls, const char* event, entry_t* entry) noexcept nogil
    # A command's result, a new entry without expiry, takes the place of whatever the key has, and key_changed says so.
    # NULL, nothing to store: the key is deleted.
cdef bint delete_if_empty(client_t* c, arg_t* key, size_t left) noexcept nogil
    # After `left` elements remain of a collection: none, and the key goes, with the event "del". Between the event
    # of what was removed and key_changed.

# Lookup on behalf of a client: CLIENT NO-TOUCH, statistics. `c` must not be NULL.
cdef entry_t* lookup_flags(client_t* c, db_t* db, arg_t* key, int flags) noexcept nogil

cdef inline entry_t* lookup_read(client_t* c, arg_t* key) noexcept nogil:
    """The value of a key for reading, or NULL. Fast path: present, and not to expire. Then: count, touch, done."""
    cdef engine_t* e = c.engine
    cdef entry_t* entry = <entry_t*>ht_find(c.db.keys, key.ptr, key.len, arg_hash(e, key))
    if entry == NULL:
        e.stats.keyspace_misses += 1
        notify(e, NOTIFY_KEY_MISS, b"keymiss", key.ptr, key.len, c.db.id)
        return NULL
    if is_expired(c, entry):
        return lookup_flags(c, c.db, key, 0)
    e.stats.keyspace_hits += 1
    if cf_likely(not c.flags & CLIENT_NO_TOUCH):
        entry_touch(e, entry)
    return entry

cdef inline entry_t* lookup_write(client_t* c, arg_t* key) noexcept nogil:
    """The value of a key that is about to be changed, or NULL. The caller may change it in place."""
    cdef engine_t* e = c.engine
    cdef uint64_t hash = arg_hash(e, key)
    cdef entry_t* entry = <entry_t*>ht_find(c.db.keys, key.ptr, key.len, hash)
    if entry == NULL:
        return NULL
    if is_expired(c, entry):
        return lookup_flags(c, c.db, key, LOOKUP_WRITE)
    db_will_change(c.db, hash)
    if cf_likely(not c.flags & CLIENT_NO_TOUCH):
        entry_touch(e, entry)
    return entry

# "or reply": the common first lines of a command. False means that the reply has been sent.
cdef inline bint type_or_reply(client_t* c, entry_t* entry, int type) noexcept nogil:
    if cf_likely(entry == NULL or entry_type(entry) == type):
        return True
    reply_error(c, ERR_WRONGTYPE)
    return False

cdef inline bint string_or_reply(client_t* c, entry_t* entry) noexcept nogil:
    return type_or_reply(c, entry, OBJ_STRING)

# What others may know of the tables.
cdef inline size_t db_len(const db_t* db) noexcept nogil:
    return ht_len(db.keys)

cdef inline size_t db_expiring(const db_t* db) noexcept nogil:
    """Keys with an expiry."""
    return ht_len(db.expires)

cdef inline uint64_t db_scan(db_t* db, uint64_t cursor, ht_each_fn fn, void* ctx) noexcept nogil:
    """Entries of one step of SCAN's cursor, as ht_scan."""
    return ht_scan(db.keys, cursor, fn, ctx)

cdef inline bint db_prefetch(db_t* db, uint64_t hash, int stage) noexcept nogil:
    """Three passes over the keys of a batch: 0 buckets, 1 entries, 2 those in overflow buckets. True after the second:
    the third is needed."""
    if stage == 0:
        ht_prefetch_bucket(db.keys, hash)
    elif stage == 1:
        return ht_prefetch_element(db.keys, hash)
    else:
        ht_prefetch_overflow(db.keys, hash)
    return False

cdef inline entry_t* db_candidate(const db_t* db, uint64_t hash) noexcept nogil:
    """After those passes: most likely the entry of the key with this hash, to prefetch what lies behind. NULL: none."""
    return <entry_t*>ht_candidate(db.keys, hash)

cdef struct db_tables_t:  # bytes
    size_t keys
    size_t expires
    size_t rehashing  # arrays that are being left
    size_t mapped  # not in malloc's arenas

cdef db_tables_t db_tables(const db_t* db) noexcept nogil
cdef void db_stats(const db_t* db, ht_stats_t keys[2], ht_stats_t expires[2], bint chains) noexcept nogil  # as ht_stats
cdef void db_reserve(db_t* db, size_t keys, size_t expires) noexcept nogil  # room, before that many come
cdef hashtable_t* db_freeze(db_t* db, ht_freeze_fn fn, void* ctx) noexcept nogil
    # For a snapshot (ds/ht_freezing.pxd); NULL when there is nothing. `table_flushed_fn` says when it leaves.

# Without a client (loading, expiry, eviction).
cdef entry_t* db_find(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil  # no expiry, no LRU
cdef void db_insert(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil
    # Key absent; takes the entry; sets its LRU. The key is new: there is an event.
cdef void db_put(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil
    # The same without the event: of what was there under this name, or is loaded.
cdef void db_moved(db_t* db, entry_t* old, entry_t* new, uint64_t hash) noexcept nogil

cdef inline void db_replace(db_t* db, entry_t* old, entry_t* new, uint64_t hash) noexcept nogil:
    """After an entry function: `new` has the same key and expiry and may differ in address and value. `old` may be
    freed already and is only compared by address."""
    if old != new:
        db_moved(db, old, new, hash)

cdef entry_t* db_unlink(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil  # removed, now the caller's
cdef bint db_delete(db_t* db, const char* key, size_t nk, uint64_t hash, bint lazy) noexcept nogil
    # True if the key was there. `key` must not point into the entry.

# What SET, INCR and the like do: create or overwrite, any old type. `old` from lookup_write, or NULL. The expiry
# becomes expire_ms (-1: none), or stays with SET_KEEP_TTL. They return the entry as it now is.
cdef entry_t* db_set_string(
    db_t* db, arg_t* key, entry_t* old, const char* v, size_t nv, int64_t expire_ms, int flags) noexcept nogil
cdef entry_t* db_set_int(db_t* db, arg_t* key, entry_t* old, int64_t v, int64_t expire_ms, int flags) noexcept nogil
cdef entry_t* db_set_raw(db_t* db, arg_t* key, entry_t* old, const char* v, size_t nv) noexcept nogil
    # Text that stays text, ENC_RAW; no expiry.
cdef entry_t* db_set_blob(db_t* db, arg_t* key, entry_t* old, blob_t* blob, int64_t expire_ms, int flags) noexcept nogil
cdef entry_t* db_set_expire(db_t* db, entry_t* entry, uint64_t hash, int64_t expire_ms) noexcept nogil  # -1 removes

cdef entry_t* entry_copy(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil
    # A copy under another key, of any type, without expiry and LRU: COPY sets the expiry after db_insert.

cdef entry_t* db_random(db_t* db) noexcept nogil  # fair; may be expired

cdef size_t entry_usage(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil
    # MEMORY USAGE: bytes of the entry and its value, as the allocator rounds them; collections are estimated from
    # `samples` elements (0 = all). The share of the tables is not counted, as in Valkey.

cdef int db_check(db_t* db) noexcept nogil  # both tables, and that `expires` is exactly the E_EXPIRE entries
