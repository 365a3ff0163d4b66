"""Eviction: choosing and deleting keys until memory is below maxmemory.

Ranking is Redis' approximation. Each round takes `maxmemory-samples` elements of every database and merges
them into a pool of the 16 best candidates seen so far (ascending rank); the best one that still exists is
deleted. The pool makes a few samples a round behave almost like true LRU.

    rank:  LRU  idle seconds          LFU  255 - decayed counter          TTL  ~expiry (sooner is larger)

A candidate is an address and the hash of its key, no copy of the key. Before it is followed the table is asked whether
its chain still holds that address; then the entry lives, but the allocator may have given the address to another key
of the same chain, so the entry's own key must have that hash. Ranks are taken anew when a victim is picked: a
candidate that was used meanwhile goes back into the pool with its lower rank.

The bits (entry.word 0-23) are Redis': LRU = unix seconds modulo 2^24; LFU = 16 bits minutes of the last decay,
8 bits logarithmic counter.

A tick deletes for one time slice, whose length maxmemory-eviction-tenacity gives; the rest follows in
`evict_continue` at the end of the next ticks. Once the slice is used up, the tick's further commands evict only as
much as they add. Nothing is evicted while loading or paused.
"""

from libc.math cimport pow
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from posix.unistd cimport usleep

from cachefleet_server.core.engine cimport EVICTION_POOL, arg_t, db_t, engine_t, eviction_candidate_t
from cachefleet_server.core.params cimport POLICY_ALLKEYS, POLICY_LFU, POLICY_NOEVICTION, POLICY_RANDOM, POLICY_TTL
from cachefleet_server.core.entry cimport (
    LRU_BITS_MASK, entry_expire, entry_key, entry_lru, entry_set_lru, entry_t)
from cachefleet_server.core.latency cimport latency_end, latency_start
from cachefleet_server.core.pause cimport paused
from cachefleet_server.core.lfu cimport entry_lfu_count, lfu_minutes
from cachefleet_server.core.wake cimport engine_wake
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_holds, ht_len
from cachefleet_server.ds.ht_sampling cimport ht_random, ht_sample, rng_next
from cachefleet_server.ds.intrin cimport cf_assert, cf_atomic_get, cf_monotonic_us
from cachefleet_server.ds.zmalloc cimport heap_used
from cachefleet_server.keyspace.db cimport NOTIFY_EVICTED, db_unlink, entry_usage, notify, signal_modified
from cachefleet_server.keyspace.journal cimport journal_arg, journal_command, journal_delete
from cachefleet_server.keyspace.keyspace cimport keyspace_db
from cachefleet_server.keyspace.lazyfree cimport entry_free, lazyfree_entry, lazyfree_pending

cdef enum:
    SAMPLES_MAX = 64  # maxmemory-samples' upper bound
    KEYS_PER_CHECK = 16  # deletions between two looks at the clock
    LAZYFREE_WAIT_US = 1000  # how long one call waits at most for the helper thread to give memory back
    USAGE_SAMPLES = 5  # elements by which the size of a collection is estimated


# ---- LRU and LFU bits ------------------------------------------------------------------------------

cdef uint32_t entry_initial_lru(const engine_t* e) noexcept nogil:
    if e.params.maxmemory_policy & POLICY_LFU:
        return lfu_minutes(e) << 8 | LFU_NEW
    return e.lru_clock


cdef uint64_t entry_idle_ms(const engine_t* e, const entry_t* entry) noexcept nogil:
    return <uint64_t>((e.lru_clock - entry_lru(entry)) & LRU_BITS_MASK) * 1000


cdef void entry_touch_lfu(engine_t* e, entry_t* entry) noexcept nogil:
    """Counts an access with probability 1 / (above * factor + 1), so 8 bits reach about a million accesses."""
    cdef int count = entry_lfu_count(e, entry)
    cdef double above
    if count < 255:
        above = count - LFU_NEW if count > LFU_NEW else 0
        if <double>(rng_next(&e.rng) >> 11) * (1.0 / 9007199254740992.0) < 1.0 / (above * e.params.lfu_log_factor + 1):
            count += 1
    entry_set_lru(entry, lfu_minutes(e) << 8 | <uint32_t>count)


# ---- how much ---------------------------------------------------------------------------------------

cdef size_t memory_counted(engine_t* e) noexcept nogil:
    """The journal's buffer does not count, nor what slow replicas hold of it: evicting grows them, which would feed
    itself. Nor do deleted values that a snapshot holds: evicting others would not free them."""
    cdef size_t used = heap_used(e.heap)
    cdef size_t apart = e.journal.buf.cap + e.replicas.backlog_excess + e.snapshot_alone
    return used - apart if used > apart else 0


cdef int64_t evict_exceeded_us(engine_t* e) noexcept nogil:
    return cf_monotonic_us() - e.keyspace.eviction.exceeded_since_us if e.keyspace.eviction.exceeded_since_us else 0


cdef int64_t _time_limit_us(const engine_t* e) noexcept nogil:
    """50 us a point up to 10, then 15 % more a point; 100 is no limit."""
    cdef int64_t tenacity = e.params.maxmemory_eviction_tenacity
    if tenacity <= 10:
        return 50 * tenacity
    if tenacity < 100:
        return <int64_t>(500.0 * pow(1.15, <double>(tenacity - 10)))
    return INT64_MAX


cdef void _note_exceeded(engine_t* e, bint above) noexcept nogil:
    """Keeps total_eviction_exceeded_time: how long memory was above the limit."""
    if above:
        if e.keyspace.eviction.exceeded_since_us == 0:
            e.keyspace.eviction.exceeded_since_us = cf_monotonic_us()
    elif e.keyspace.eviction.exceeded_since_us:
        e.stats.eviction_exceeded_us += cf_monotonic_us() - e.keyspace.eviction.exceeded_since_us
        e.keyspace.eviction.exceeded_since_us = 0


# ---- what: the pool ---------------------------------------------------------------------------------

cdef inline hashtable_t* _sampled_table(db_t* db) noexcept nogil:
    return db.keys if db.engine.params.maxmemory_policy & POLICY_ALLKEYS else db.expires


cdef uint64_t _rank(const engine_t* e, const entry_t* entry) noexcept nogil:
    if e.params.maxmemory_policy & POLICY_LFU:
        return 255 - entry_lfu_count(e, entry)
    if e.params.maxmemory_policy & POLICY_TTL:
        return ~<uint64_t>entry_expire(entry)
    return entry_idle_ms(e, entry)


cdef inline uint64_t _hash_of(const engine_t* e, const entry_t* entry) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    return hash_bytes(key, nk, &e.seed)


cdef void _pool_insert(engine_t* e, entry_t* entry, uint64_t rank, int dbid) noexcept nogil:
    """Keeps the EVICTION_POOL best, each address once. Hashes only those that get in."""
    cdef eviction_candidate_t* pool = &e.keyspace.eviction.pool[0]
    cdef int n = e.keyspace.eviction.pool_len
    cdef int i, at = 0
    if n == EVICTION_POOL and rank <= pool[0].rank:
        return
    for i in range(n):
        if pool[i].entry == entry:
            return
    while at < n and pool[at].rank < rank:
        at += 1
    if n == EVICTION_POOL:  # the worst one falls out
        at -= 1
        for i in range(at):
            pool[i] = pool[i + 1]
    else:
        for i in range(n, at, -1):
            pool[i] = pool[i - 1]
        e.keyspace.eviction.pool_len = n + 1
    pool[at].rank = rank
    pool[at].entry = entry
    pool[at].hash = _hash_of(e, entry)
    pool[at].dbid = dbid


cdef bint _pool_fill(engine_t* e) noexcept nogil:
    """Samples every database once. False when there is nothing to sample."""
    cdef void* samples[SAMPLES_MAX]
    cdef size_t want = <size_t>e.params.maxmemory_samples
    cdef size_t n, k
    cdef int i
    cdef db_t* db
    cdef bint any = False
    cdef hashtable_t* table
    if want > SAMPLES_MAX:
        want = SAMPLES_MAX
    e.keyspace.eviction.next_db = (e.keyspace.eviction.next_db + 1) % e.keyspace.opened
    for i in range(e.keyspace.opened):
        # Each is the first in turn: equal ranks favour the first.
        db = e.keyspace.dbs[(e.keyspace.eviction.next_db + i) % e.keyspace.opened]
        table = _sampled_table(db)
        if ht_len(table) == 0:
            continue
        any = True
        n = ht_sample(table, samples, want, &e.rng)
        for k in range(n):  # ht_sample has prefetched them
            _pool_insert(e, <entry_t*>samples[k], _rank(e, <entry_t*>samples[k]), db.id)
    return any


cdef inline bint _still_there(engine_t* e, const eviction_candidate_t* candidate) noexcept nogil:
    """The chain is asked first: only what it holds may be read."""
    return ht_holds(_sampled_table(keyspace_db(e.keyspace, candidate.dbid)), candidate.entry, candidate.hash) \
        and _hash_of(e, candidate.entry) == candidate.hash


cdef entry_t* _pool_take(engine_t* e, db_t** db, uint64_t* hash) noexcept nogil:
    """The best candidate that still exists, removed from the pool; NULL when the pool ran empty."""
    cdef eviction_candidate_t best
    cdef uint64_t rank
    while e.keyspace.eviction.pool_len > 0:
        e.keyspace.eviction.pool_len -= 1
        best = e.keyspace.eviction.pool[e.keyspace.eviction.pool_len]
        if not _still_there(e, &best):
            continue  # deleted, moved or rewritten meanwhile
        rank = _rank(e, best.entry)
        if rank < best.rank:  # used since it was sampled: back to where it belongs; it may still be the best
            _pool_insert(e, best.entry, rank, best.dbid)
            continue
        db[0] = keyspace_db(e.keyspace, best.dbid)
        hash[0] = best.hash
        return best.entry
    return NULL


cdef entry_t* _choose_ranked(engine_t* e, db_t** db, uint64_t* hash) noexcept nogil:
    cdef entry_t* victim = NULL
    if e.keyspace.eviction.pool_policy != e.params.maxmemory_policy:
        e.keyspace.eviction.pool_len = 0
        e.keyspace.eviction.pool_policy = <int>e.params.maxmemory_policy
    while victim == NULL:
        if not _pool_fill(e):
            return NULL
        victim = _pool_take(e, db, hash)
    return victim


cdef entry_t* _choose_random(engine_t* e, db_t** db, uint64_t* hash) noexcept nogil:
    """Databases take turns, so that each pays."""
    cdef int _tried
    cdef hashtable_t* table
    cdef entry_t* victim
    for _tried in range(e.keyspace.opened):
        e.keyspace.eviction.next_db = (e.keyspace.eviction.next_db + 1) % e.keyspace.opened
        table = _sampled_table(e.keyspace.dbs[e.keyspace.eviction.next_db])
        if ht_len(table) == 0:
            continue
        victim = <entry_t*>ht_random(table, &e.rng)
        db[0] = e.keyspace.dbs[e.keyspace.eviction.next_db]
        hash[0] = _hash_of(e, victim)
        return victim
    return NULL


# ---- doing it ---------------------------------------------------------------------------------------

cdef size_t _in_flight(engine_t* e) noexcept nogil:
    """Bytes of evicted values that the helper thread has not freed yet: they must not cost other keys their place."""
    cdef size_t freed
    if e.keyspace.eviction.handed_bytes == 0:
        return 0
    if lazyfree_pending(e) == 0:
        e.keyspace.eviction.handed_bytes = 0
        return 0
    freed = cf_atomic_get(&e.heap.freed_remote) - e.keyspace.eviction.handed_at
    return e.keyspace.eviction.handed_bytes - min(freed, e.keyspace.eviction.handed_bytes)


cdef inline bint _above(engine_t* e, size_t target) noexcept nogil:
    return memory_counted(e) > target and memory_counted(e) > target + _in_flight(e)


cdef void evict_handed(engine_t* e, size_t bytes, size_t freed) noexcept nogil:
    if e.keyspace.eviction.handed_bytes == 0:
        e.keyspace.eviction.handed_at = freed
    e.keyspace.eviction.handed_bytes += bytes


cdef void _free_lazily(engine_t* e, entry_t* victim) noexcept nogil:
    cdef size_t bytes = entry_usage(e, victim, USAGE_SAMPLES)
    cdef size_t pending = lazyfree_pending(e)
    cdef size_t freed = cf_atomic_get(&e.heap.freed_remote)
    lazyfree_entry(e, victim)
    if lazyfree_pending(e) > pending:  # it was handed over, not freed at once
        evict_handed(e, bytes, freed)


cdef void _evict(db_t* db, entry_t* victim, uint64_t hash) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef int64_t start = latency_start(e)
    cdef size_t nk
    cdef const char* key = entry_key(victim, &nk)
    cdef arg_t argv[2]
    victim = db_unlink(db, key, nk, hash)
    cf_assert(victim != NULL)
    e.stats.evicted_keys += 1
    signal_modified(NULL, db, key, nk, hash)
    notify(e, NOTIFY_EVICTED, b"evicted", key, nk, db.id)
    if e.params.lazyfree_lazy_eviction:
        journal_delete(e, db.id, key, nk)
        _free_lazily(e, victim)
    else:
        argv[0] = journal_arg(b"DEL", 3)
        argv[1] = journal_arg(key, nk)
        journal_command(e, db.id, 2, argv)
        entry_free(e, victim)
    latency_end(e, b"eviction-del", start)


cdef bint _wait_for_lazyfree(engine_t* e, size_t target) noexcept nogil:
    """Nothing is left to evict, but the helper thread may be about to give memory back (FLUSHALL ASYNC)."""
    cdef int64_t start = latency_start(e)
    cdef int64_t until = cf_monotonic_us() + LAZYFREE_WAIT_US
    cdef bint enough = True
    while _above(e, target):
        if lazyfree_pending(e) == 0 or cf_monotonic_us() > until:
            enough = False
            break
        usleep(50)
    latency_end(e, b"eviction-lazyfree", start)
    return enough


cdef int _evict_until(engine_t* e, size_t target, int64_t deadline_us) noexcept nogil:
    """Deletes until memory is down to `target` bytes."""
    cdef bint ranked = not e.params.maxmemory_policy & POLICY_RANDOM
    cdef int freed = 0
    cdef db_t* db = NULL
    cdef uint64_t hash = 0
    cdef entry_t* victim
    while _above(e, target):
        victim = _choose_ranked(e, &db, &hash) if ranked else _choose_random(e, &db, &hash)
        if victim == NULL:
            return EVICT_OK if _wait_for_lazyfree(e, target) else EVICT_FAIL
        _evict(db, victim, hash)
        freed += 1
        if freed % KEYS_PER_CHECK == 0 and cf_monotonic_us() > deadline_us:
            return EVICT_RUNNING
    return EVICT_OK


cdef int _evict_slice(engine_t* e, size_t target) noexcept nogil:
    """One time slice."""
    cdef uint64_t evicted = e.stats.evicted_keys
    cdef int64_t limit_us = _time_limit_us(e)
    cdef int64_t start = latency_start(e)
    cdef int result = _evict_until(e, target, INT64_MAX if limit_us == INT64_MAX else cf_monotonic_us() + limit_us)
    evicted = e.stats.evicted_keys - evicted
    if evicted > e.stats.evict_slice_keys_max:
        e.stats.evict_slice_keys_max = evicted
    latency_end(e, b"eviction-cycle", start)
    return result


cdef int evict_perform(engine_t* e) noexcept nogil:
    cdef size_t limit = <size_t>e.params.maxmemory
    cdef int result = EVICT_OK
    if e.params.maxmemory <= 0 or not _above(e, limit):
        if e.keyspace.eviction.exceeded_since_us:
            _note_exceeded(e, False)
        return EVICT_OK
    if e.persist.loading or e.following != NULL or paused(e):
        return EVICT_OK  # a replica has what its primary has; a pause promises that the data set stands still
    if e.params.maxmemory_policy & POLICY_NOEVICTION:
        result = EVICT_FAIL
    elif not e.keyspace.eviction.spent:
        result = _evict_slice(e, limit)
        if result == EVICT_RUNNING:
            e.keyspace.eviction.spent = True
            e.keyspace.eviction.ceiling = memory_counted(e)
            engine_wake(e)
    else:
        result = _evict_slice(e, max(limit, e.keyspace.eviction.ceiling))
        if result == EVICT_OK:
            result = EVICT_RUNNING
    _note_exceeded(e, result != EVICT_OK)
    return result


cdef void evict_continue(engine_t* e) noexcept nogil:
    """Also what makes a changed maxmemory act at once, without waiting for a command."""
    if e.params.maxmemory <= 0 and e.keyspace.eviction.exceeded_since_us == 0:
        return
    if not e.keyspace.eviction.spent:
        evict_perform(e)
    e.keyspace.eviction.spent = False
