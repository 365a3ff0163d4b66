"""A keyspace without commands or connections, as a Python class. Development builds only.

`Keyspace` owns a minimal engine_t: databases, clients without sockets, a journal, a clock that the test sets.
`Snapshot` is the smallest user of a frozen table: it collects what a point-in-time save would write. Databases are
named by number, clients by the numbers that `client()` returns. `check()` raises AssertionError with
the number of the broken invariant.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cachefleet_server.core.engine cimport (
    BLOCKED_WAIT, CLIENT_BLOCKED, CLIENT_DIRTY_CAS, CLIENT_RESUMED, arg_t, client_t, db_t, engine_t,
    keyspace_t, type_ops_t)
from cachefleet_server.core.entry cimport *
from cachefleet_server.core.pause cimport PAUSE_CLIENT, PAUSE_WRITES, pause_begin, pause_end
from cachefleet_server.core.role cimport ROLE_CONNECTION, role_row
from cachefleet_server.core.types cimport entry_encoding_name, types_init
from cachefleet_server.ds.blob cimport blob_new, blob_t
from cachefleet_server.ds.buf cimport buf_free, buf_init
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_bucket_each, ht_bucket_t, ht_len, ht_scan
from cachefleet_server.ds.ht_freezing cimport ht_freeze_begin, ht_freeze_end, ht_freeze_step
from cachefleet_server.ds.intrin cimport cf_monotonic_us
from cachefleet_server.ds.number cimport int64_to_chars
from cachefleet_server.ds.owners cimport owner_add, owner_drop
from cachefleet_server.ds.zmalloc cimport heap_free, heap_new, heap_t, heap_used, zfree, zmalloc
from cachefleet_server.keyspace.blocked cimport (
    block_client, block_forget, blocked_check, blocked_free, blocked_timeouts, unblock_client)
from cachefleet_server.keyspace.db cimport *
from cachefleet_server.keyspace.evict cimport evict_perform
from cachefleet_server.keyspace.journal cimport (
    journal_arg, journal_command, journal_raw, journal_transaction_begin, journal_transaction_end)
from cachefleet_server.keyspace.keyspace cimport (
    keyspace_cron, keyspace_db, keyspace_flush, keyspace_free, keyspace_new, keyspace_swap, keyspace_swap_dbs)
from cachefleet_server.keyspace.lazyfree cimport (
    lazyfree_pending, lazyfree_stop, lazyfree_table, lazyfree_wait)
from cachefleet_server.keyspace.watch cimport (
    unwatch_all, watch_count, watch_key, watched_key_expired)

cdef enum:
    _CLIENTS_MAX = 64
    OBJ_BLOCK = 9  # a type that no other has


# ---- a collection type: a block that says how many allocations it stands for ----------------------------

cdef struct _block_t:
    size_t owners
    size_t effort


cdef _block_t* _block_new(heap_t* h, size_t effort) noexcept nogil:
    cdef _block_t* block = <_block_t*>zmalloc(h, sizeof(_block_t))
    block.owners = 1
    block.effort = effort
    return block


cdef inline _block_t* _block(const entry_t* entry) noexcept nogil:
    return <_block_t*>entry_payload(entry)[0]


cdef void _block_free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    zfree(h, _block(entry))


cdef size_t _block_effort(const entry_t* entry) noexcept nogil:
    return _block(entry).effort


cdef entry_t* _block_dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    return entry_new_pointer(
        e.heap, key, nk, OBJ_BLOCK, ENC_HASHTABLE, _block_new(e.heap, _block(entry).effort), -1)


# ---- snapshots --------------------------------------------------------------------------------------------

cdef tuple _row(const entry_t* entry):
    """Key, value (bytes, or the effort of a block), expiry."""
    cdef size_t nk, nv
    cdef char digits[32]
    cdef const char* v
    cdef const char* key = entry_key(entry, &nk)
    if entry_type(entry) != OBJ_STRING:
        return key[:nk], _block(entry).effort, entry_expire(entry)
    nv = entry_string_copy(entry, digits, &v)
    return key[:nk], v[:nv], entry_expire(entry)


cdef void _collect(void* ctx, void* element) noexcept with gil:
    (<list>ctx).append(_row(<const entry_t*>element))


cdef void _frozen_chain(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept with gil:
    ht_bucket_each(head, _collect, <void*>(<Snapshot>ctx).rows)


cdef bint _adopt(engine_t* e, int dbid, hashtable_t* keys) noexcept with gil:
    cdef Snapshot snapshot = <Snapshot>e.snapshot_ctx
    if snapshot.table != keys:
        return False
    snapshot.adopted = True
    return True


cdef class Snapshot:
    """Rows of one database as they were when it was made. `step` until it returns False."""

    cdef Keyspace owner
    cdef hashtable_t* table
    cdef uint64_t position
    cdef bint adopted
    cdef readonly list rows

    def step(self, size_t chains):
        cdef bint more
        if self.table == NULL:
            return False
        more = ht_freeze_step(self.table, &self.position, chains)
        if not more:
            self.end()
        return more

    def end(self):
        """Early, or after the last step: an adopted table is freed now."""
        cdef hashtable_t* table = self.table
        if table == NULL:
            return
        ht_freeze_end(table)
        self.table = NULL
        self.owner.e.table_flushed_fn = NULL
        self.owner.e.snapshot_ctx = NULL
        if self.adopted:
            lazyfree_table(self.owner.e, table, NULL)


# ---- the keyspace -------------------------------------------------------------------------------------------

cdef void _unblocked(client_t* c, bint timed_out) noexcept nogil:
    c.commands = 2 if timed_out else 1


cdef class Keyspace:
    cdef engine_t* e
    cdef client_t* clients[64]  # _CLIENTS_MAX
    cdef int client_count
    cdef list kept  # bytes that arg_t point to while a method runs

    def __cinit__(self, int databases=4, uint64_t seed=1):
        cdef engine_t* e = <engine_t*>calloc(1, sizeof(engine_t))
        self.e = e
        e.heap = heap_new()
        e.seed.a = seed * <uint64_t>0x9E3779B97F4A7C15 + 1
        e.seed.b = seed ^ <uint64_t>0xD1B54A32D192ED03
        e.rng = seed
        e.wake_fd = -1
        e.now_ms = 1
        e.journal.db = -1
        e.params.lazyfree_lazy_expire = 1
        e.params.activerehashing = 1
        e.params.maxmemory_samples = 5
        e.params.maxmemory_eviction_tenacity = 100
        buf_init(&e.journal.buf, e.heap)
        types_init(e)
        e.types[OBJ_BLOCK].encodings[ENC_HASHTABLE] = b"hashtable"
        e.types[OBJ_BLOCK].free_fn = _block_free
        e.types[OBJ_BLOCK].dup_fn = _block_dup
        e.types[OBJ_BLOCK].effort_fn = _block_effort
        e.keyspace = keyspace_new(e, databases)
        self.client()

    def close(self):
        """Frees everything; returns the bytes that are still accounted for, which should be none."""
        cdef engine_t* e = self.e
        cdef size_t left
        cdef int i
        if e == NULL:
            return 0
        for i in range(self.client_count):
            self.leave(i)
        lazyfree_stop(e)
        keyspace_free(e, e.keyspace, False)
        blocked_free(e)
        buf_free(&e.journal.buf)
        left = heap_used(e.heap)
        heap_free(e.heap)
        free(e)
        self.e = NULL
        return left

    def __dealloc__(self):
        if self.e != NULL:
            self.close()

    def client(self):
        """A new client in database 0; returns its number. Number 0 is there from the start."""
        cdef client_t* c = <client_t*>calloc(1, sizeof(client_t))
        c.engine = self.e
        c.db = self.e.keyspace.dbs[0]
        c.fd = -1
        c.role = role_row(ROLE_CONNECTION)
        self.clients[self.client_count] = c
        self.client_count += 1
        return self.client_count - 1

    def leave(self, int i):
        if self.clients[i] != NULL:
            block_forget(self.clients[i])
            unwatch_all(self.clients[i])
            free(self.clients[i])
            self.clients[i] = NULL

    cdef db_t* db(self, int i) except NULL:
        if not 0 <= i < self.e.keyspace.count:
            raise IndexError(i)
        self.clients[0].db = keyspace_db(self.e.keyspace, i)
        return self.clients[0].db

    # -- state

    @property
    def now(self):
        return self.e.now_ms

    @now.setter
    def now(self, int64_t ms):
        self.e.now_ms = ms
        self.e.lru_clock = <uint64_t>(ms // 1000) & LRU_BITS_MASK

    @property
    def used(self):
        return heap_used(self.e.heap)

    @property
    def hits(self):
        return self.e.stats.keyspace_hits

    @property
    def misses(self):
        return self.e.stats.keyspace_misses

    def set_param(self, str name, int64_t value):
        if name == "role":
            self.clients[0].role = role_row(<int>value)
        elif name == "paused_until_ms":
            pause_end(self.e, PAUSE_CLIENT)
            pause_begin(self.e, PAUSE_CLIENT, value, PAUSE_WRITES)
        elif name == "lazyfree_lazy_server_del":
            self.e.params.lazyfree_lazy_server_del = value
        else:
            raise KeyError(name)

    def rows(self, int db):
        """Everything in a database, expired keys too: {key: (value, expiry)}."""
        cdef uint64_t cursor = 0
        found = []
        while True:
            cursor = ht_scan(self.db(db).keys, cursor, _collect, <void*>found)
            if cursor == 0:
                break
        result = {key: (value, expiry) for key, value, expiry in found}
        assert len(result) == len(found) == <Py_ssize_t>ht_len(self.db(db).keys)
        return result

    def expiring(self, int db):
        return ht_len(self.db(db).expires)

    def check(self):
        cdef int i, wrong
        for i in range(self.e.keyspace.opened):
            wrong = db_check(self.e.keyspace.dbs[i])
            assert wrong == 0, f"db {i}: {wrong}"
        wrong = blocked_check(self.e)
        assert wrong == 0, f"deadlines: {wrong}"

    # -- keys

    def get(self, int db, bytes key):
        cdef arg_t a = journal_arg(key, len(key))
        self.db(db)
        cdef entry_t* entry = lookup_read(self.clients[0], &a)
        return _row(entry)[1] if entry != NULL else None

    def share(self, int db, bytes key):
        """Becomes an owner of a long string's blob, as a reply does; `release` takes what this returns."""
        cdef arg_t a = journal_arg(key, len(key))
        cdef blob_t* b = entry_blob(db_find(self.db(db), a.ptr, a.len, arg_hash(self.e, &a)))
        owner_add(b)
        return <size_t>b

    def release(self, size_t blob):
        """Lets go of a blob and returns the bytes that it held until then."""
        cdef blob_t* b = <blob_t*>blob
        value = (&b.data[0])[:b.len]
        owner_drop(self.e.heap, b)
        return value

    def lookup(self, int db, bytes key, int flags):
        cdef arg_t a = journal_arg(key, len(key))
        cdef entry_t* entry = lookup_flags(self.clients[0], self.db(db), &a, flags)
        return _row(entry) if entry != NULL else None

    def lru(self, int db, bytes key):
        cdef arg_t a = journal_arg(key, len(key))
        cdef entry_t* entry = db_find(self.db(db), a.ptr, a.len, arg_hash(self.e, &a))
        return entry_lru(entry)

    def encoding(self, int db, bytes key):
        cdef arg_t a = journal_arg(key, len(key))
        cdef entry_t* entry = db_find(self.db(db), a.ptr, a.len, arg_hash(self.e, &a))
        return entry_encoding_name(self.e, entry).decode() if entry != NULL else None

    def address(self, int db, bytes key):
        cdef arg_t a = journal_arg(key, len(key))
        return <size_t>db_find(self.db(db), a.ptr, a.len, arg_hash(self.e, &a))

    def set(self, int db, bytes key, bytes value, int64_t expire_ms=-1, bint keep_ttl=False, bint blob=False):
        cdef arg_t a = journal_arg(key, len(key))
        cdef db_t* d = self.db(db)
        cdef entry_t* old = lookup_write(self.clients[0], &a)
        cdef blob_t* b
        cdef int flags = SET_KEEP_TTL if keep_ttl else 0
        if blob:
            b = blob_new(self.e.heap, len(value))
            b.len = len(value)
            memcpy(&b.data[0], <const char*>value, len(value))
            db_set_blob(d, &a, old, b, expire_ms, flags)
        else:
            db_set_string(d, &a, old, value, len(value), expire_ms, flags)
        signal_modified(self.clients[0], d, a.ptr, a.len, a.hash)

    def set_int(self, int db, bytes key, int64_t value, int64_t expire_ms=-1, bint keep_ttl=False):
        cdef arg_t a = journal_arg(key, len(key))
        cdef db_t* d = self.db(db)
        db_set_int(d, &a, lookup_write(self.clients[0], &a), value, expire_ms, SET_KEEP_TTL if keep_ttl else 0)
        signal_modified(self.clients[0], d, a.ptr, a.len, a.hash)

    def set_raw(self, int db, bytes key, bytes value):
        """As SETRANGE and BITOP store: raw, the expiry stays. Returns whether the key was there."""
        cdef arg_t a = journal_arg(key, len(key))
        cdef db_t* d = self.db(db)
        cdef entry_t* old = lookup_write(self.clients[0], &a)
        arg_hash(self.e, &a)
        if old == NULL:
            db_insert(d, entry_new_raw(self.e.heap, a.ptr, a.len, value, len(value), -1), a.hash)
        else:
            db_replace(d, old, entry_set_bytes(self.e.heap, old, value, len(value), ENC_RAW), a.hash)
        return old != NULL

    def add_block(self, int db, bytes key, size_t effort, int64_t expire_ms=-1):
        """A collection under an absent key."""
        cdef arg_t a = journal_arg(key, len(key))
        cdef _block_t* block = _block_new(self.e.heap, effort)
        db_insert(
            self.db(db),
            entry_new_pointer(self.e.heap, a.ptr, a.len, OBJ_BLOCK, ENC_HASHTABLE, block, expire_ms),
            arg_hash(self.e, &a))

    def expire(self, int db, bytes key, int64_t expire_ms):
        cdef arg_t a = journal_arg(key, len(key))
        cdef entry_t* entry = lookup_write(self.clients[0], &a) if self.db(db) != NULL else NULL
        if entry == NULL:
            return False
        db_set_expire(self.db(db), entry, a.hash, expire_ms)
        return True

    def delete(self, int db, bytes key, bint lazy=False):
        cdef arg_t a = journal_arg(key, len(key))
        cdef bint deleted = db_delete(self.db(db), a.ptr, a.len, arg_hash(self.e, &a), lazy)
        if deleted:
            signal_modified(NULL, self.db(db), a.ptr, a.len, a.hash)
        return deleted

    def evict(self, size_t limit, int policy):
        """What a command does first under maxmemory; returns how many keys have gone so far."""
        self.e.params.maxmemory = limit
        self.e.params.maxmemory_policy = policy
        evict_perform(self.e)
        return self.e.stats.evicted_keys

    def emptied(self, int db, bytes key, size_t left):
        """What a command on a collection does when it has taken elements out of it."""
        cdef arg_t a = journal_arg(key, len(key))
        self.db(db)
        return delete_if_empty(self.clients[0], &a, left)

    def random(self, int db):
        cdef entry_t* entry = db_random(self.db(db))
        return _row(entry)[0] if entry != NULL else None

    def flush(self, int db, bint lazy):
        keyspace_flush(self.e, db, lazy)

    def swap(self, int a, int b):
        keyspace_swap_dbs(self.e, a, b)

    def replace(self, list rows, bint lazy):
        """A keyspace with these rows, (db, key, value, expiry), is filled beside this one and takes its place."""
        cdef keyspace_t* other = keyspace_new(self.e, self.e.keyspace.count)
        cdef arg_t a
        for db, key, value, expiry in rows:
            a = journal_arg(key, len(key))
            db_set_string(keyspace_db(other, <int>db), &a, NULL, value, len(value), expiry, 0)
        keyspace_swap(self.e, other)
        keyspace_free(self.e, other, lazy)

    def cron(self):
        keyspace_cron(self.e)

    def snapshot(self, int db):
        cdef Snapshot s = Snapshot.__new__(Snapshot)
        s.owner = self
        s.rows = []
        s.table = self.db(db).keys
        self.e.table_flushed_fn = _adopt
        self.e.snapshot_ctx = <void*>s
        ht_freeze_begin(s.table, _frozen_chain, <void*>s)
        return s

    # -- journal

    def journal(self, bint on):
        self.e.journal.enabled = on

    def take_journal(self):
        taken = self.e.journal.buf.data[:self.e.journal.buf.len] if self.e.journal.buf.len else b""
        self.e.journal.buf.len = 0
        return taken

    def journal_command(self, int db, *args):
        cdef arg_t argv[8]
        cdef int i
        for i in range(len(args)):
            argv[i] = journal_arg(args[i], len(args[i]))
        journal_command(self.e, db, len(args), argv)

    def journal_raw(self, int db, bytes raw):
        journal_raw(self.e, db, raw, len(raw))

    def transaction(self, bint begin):
        if begin:
            journal_transaction_begin(self.e)
        else:
            journal_transaction_end(self.e)

    # -- helper thread

    def pending(self):
        return lazyfree_pending(self.e)

    def lazyfreed(self):
        return self.e.stats.lazyfreed_objects

    def helper_runs(self):
        return self.e.lazyfree != NULL

    def wait_helper(self):
        with nogil:
            lazyfree_wait(self.e)

    def stop_helper(self):
        with nogil:
            lazyfree_stop(self.e)

    # -- watching

    def watch(self, int client, int db, bytes key):
        cdef arg_t a = journal_arg(key, len(key))
        self.clients[client].db = keyspace_db(self.e.keyspace, db)
        watch_key(self.clients[client], &a)

    def unwatch(self, int client):
        unwatch_all(self.clients[client])
        self.clients[client].flags &= ~<uint64_t>CLIENT_DIRTY_CAS

    def conflict(self, int client):
        """Would EXEC fail?"""
        return bool(self.clients[client].flags & CLIENT_DIRTY_CAS) or watched_key_expired(self.clients[client])

    def watching(self):
        """(clients, keys) as the engine counts them, and the keys of each client."""
        cdef int i
        each = [watch_count(self.clients[i]) if self.clients[i] != NULL else 0 for i in range(self.client_count)]
        return self.e.keyspace.watching, self.e.keyspace.watched_keys, each

    # -- blocking

    def block(self, int client, int64_t until_ms):
        self.clients[client].commands = 0
        block_client(self.clients[client], BLOCKED_WAIT, until_ms, _unblocked)

    def unblock(self, int client, bint timed_out):
        unblock_client(self.clients[client], timed_out)

    def timeouts(self):
        blocked_timeouts(self.e)

    def blocked(self, int client):
        """None while blocked; else how the last wait ended (1 woken, 2 timed out) and whether input resumes."""
        cdef client_t* c = self.clients[client]
        if c.flags & CLIENT_BLOCKED:
            return None
        return c.commands, bool(c.flags & CLIENT_RESUMED)

    def blocked_count(self):
        return self.e.clients.blocked

    # -- measuring

    def fill(self, int db, size_t count, size_t value_len):
        """`count` keys of 16 bytes; returns accounted bytes per key."""
        cdef db_t* d = self.db(db)
        cdef size_t before = heap_used(self.e.heap)
        cdef char key[32]
        cdef arg_t a
        cdef size_t i
        cdef int n
        value = b"v" * value_len
        memset(key, c"0", 16)
        for i in range(count):
            n = int64_to_chars(key + 20, i)
            memcpy(key + 16 - n, key + 20, n)
            a = journal_arg(key, 16)
            db_set_string(d, &a, NULL, value, value_len, -1, 0)
        return (heap_used(self.e.heap) - before) / count

    def time_reads(self, int db, size_t count, size_t rounds):
        """Nanoseconds of a lookup_read of keys that `fill` made, hashing included."""
        cdef char key[32]
        cdef arg_t a
        cdef size_t i, _r
        cdef int n
        cdef int64_t start
        cdef uint64_t found = 0
        self.db(db)
        memset(key, c"0", 16)
        start = cf_monotonic_us()
        for _r in range(rounds):
            for i in range(count):
                n = int64_to_chars(key + 20, i)
                memcpy(key + 16 - n, key + 20, n)
                a = journal_arg(key, 16)
                if lookup_read(self.clients[0], &a) != NULL:
                    found += 1
        assert found == count * rounds
        return (cf_monotonic_us() - start) * 1000 / (count * rounds)
