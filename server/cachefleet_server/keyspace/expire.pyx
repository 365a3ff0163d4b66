"""Deletion of keys whose time has passed.

Lazily: whoever looks a key up and finds it expired calls `expire_now`. Actively: cycles walk the tables of
keys with a TTL (db.expires), a cursor per database, and delete what they find expired.

Active expiry is paced so that it may use a share of the CPU (25 % at active-expire-effort 1, 43 % at 10) but never
holds the loop longer than a slice:

    cron --> slice --(ran out of time: `behind`)--> pause --> slice --> ... --> few are expired: stop
            <= 1 ms                                 3 ms    <= 1 ms

A slice looks at some hundred keys of each database and stays with one while more than `11 - effort` percent of what it
meets is expired, for then walking on pays. Up to half of the slice is for members of collections whose time is over
(keyspace/member_expiry.pxd). Cron runs a slice whenever it comes; while one is behind, the following ones run at the
ends of ticks, and the engine's alarm makes those ticks happen.

Elements of a few buckets are gathered first, then prefetched, then checked: the walk is bound by
cache misses, and this overlaps them.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport arg_t, db_t, engine_t
from cachefleet_server.core.entry cimport entry_expire, entry_key, entry_t
from cachefleet_server.core.latency cimport latency_end, latency_start
from cachefleet_server.core.pause cimport paused
from cachefleet_server.core.wake cimport engine_alarm
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.hashtable cimport ht_len, ht_prefetch_bucket, ht_scan
from cachefleet_server.ds.intrin cimport cf_assert, cf_cycles, cf_monotonic_us, cf_prefetch
from cachefleet_server.keyspace.db cimport NOTIFY_EXPIRED, db_unlink, notify, signal_modified
from cachefleet_server.keyspace.journal cimport journal_arg, journal_command, journal_delete
from cachefleet_server.keyspace.lazyfree cimport entry_free, lazyfree_entry
from cachefleet_server.keyspace.member_expiry cimport members_expire

cdef enum:
    GATHER_MAX = 128  # keys gathered before they are checked
    GATHER_ENOUGH = 48  # stop gathering: one more cursor step could overflow
    STEPS_MAX = 64  # cursor steps of one gathering: a sparse table must not hold the slice up
    VISIT_MIN = 512  # keys of a database that a slice looks at even if few are expired: some 30 us

cdef struct gathered_t:
    void* elements[128]  # GATHER_MAX
    int count

cdef struct tally_t:  # what a slice saw
    uint64_t sampled
    uint64_t expired


cdef void expire_now(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil:
    """The entry leaves the tables first and is freed last, so its key can be read in between."""
    cdef engine_t* e = db.engine
    cdef int64_t start = latency_start(e)
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    cdef arg_t argv[2]
    entry = db_unlink(db, key, nk, hash)
    cf_assert(entry != NULL)
    key = entry_key(entry, &nk)
    e.stats.expired_keys += 1
    notify(e, NOTIFY_EXPIRED, b"expired", key, nk, db.id)
    signal_modified(NULL, db, key, nk, hash)
    if e.params.lazyfree_lazy_expire:
        journal_delete(e, db.id, key, nk)
        lazyfree_entry(e, entry)
    else:
        argv[0] = journal_arg(b"DEL", 3)
        argv[1] = journal_arg(key, nk)
        journal_command(e, db.id, 2, argv)
        entry_free(e, entry)
    latency_end(e, b"expire-del", start)


# ---- active cycles ----------------------------------------------------------------------------------

cdef void _gather_one(void* ctx, void* element) noexcept nogil:
    cdef gathered_t* g = <gathered_t*>ctx
    if g.count < GATHER_MAX:  # else: a very long chain; its rest is met on the next round
        cf_prefetch(element)
        g.elements[g.count] = element
        g.count += 1


cdef void _gather(db_t* db, gathered_t* g) noexcept nogil:
    cdef int steps = 0
    g.count = 0
    while g.count < GATHER_ENOUGH and steps < STEPS_MAX:
        db.expire_cursor = ht_scan(db.expires, db.expire_cursor, _gather_one, g)
        steps += 1
        if db.expire_cursor == 0:
            break


cdef void _check(db_t* db, gathered_t* g, tally_t* tally) noexcept nogil:
    """Deletes what is expired among the gathered keys. Deleting one never frees another."""
    cdef engine_t* e = db.engine
    cdef uint64_t hashes[128]  # GATHER_MAX
    cdef int expired = 0
    cdef int i
    cdef int64_t ttl, ttl_sum = 0
    cdef entry_t* entry
    cdef const char* key
    cdef size_t nk
    for i in range(g.count):
        entry = <entry_t*>g.elements[i]
        ttl = entry_expire(entry) - e.now_ms
        if ttl < 0:
            key = entry_key(entry, &nk)
            hashes[expired] = hash_bytes(key, nk, &e.seed)
            ht_prefetch_bucket(db.keys, hashes[expired])
            ht_prefetch_bucket(db.expires, hashes[expired])
            g.elements[expired] = entry
            expired += 1
        else:
            ttl_sum += ttl
    tally.sampled += g.count
    tally.expired += expired
    if g.count > expired:  # a running average over some 50 rounds, for INFO
        ttl = ttl_sum // (g.count - expired)
        db.avg_ttl_ms = ttl if db.avg_ttl_ms == 0 else db.avg_ttl_ms + (ttl - db.avg_ttl_ms) // 50
    for i in range(expired):
        expire_now(db, <entry_t*>g.elements[i], hashes[i])


cdef bint _slice_db(db_t* db, int64_t deadline_us, tally_t* tally) noexcept nogil:
    """Works on one database until few of its keys are expired. False when the time ran out."""
    cdef int64_t acceptable_percent = 10 - (db.engine.params.active_expire_effort - 1)
    cdef gathered_t gathered
    cdef uint64_t expired_before, found
    cdef size_t visited = 0
    cdef size_t total = ht_len(db.expires)
    while visited < total:
        expired_before = tally.expired
        _gather(db, &gathered)
        _check(db, &gathered, tally)
        visited += gathered.count
        if cf_monotonic_us() > deadline_us:
            return False
        if gathered.count == 0:  # nearly empty buckets: the table is about to shrink
            break
        found = tally.expired - expired_before
        if visited >= VISIT_MIN and found * 100 <= <uint64_t>(gathered.count * acceptable_percent):
            break
    return True


cdef void _slice(engine_t* e) noexcept nogil:
    """Goes on with the database where the last slice stopped; visits each at most once."""
    cdef uint64_t cycles = cf_cycles()
    cdef int64_t start = cf_monotonic_us()
    cdef int64_t latency_started = latency_start(e)
    cdef int64_t took_us
    cdef int _i
    cdef bint done = True
    cdef db_t* db
    cdef tally_t tally
    tally.sampled = 0
    tally.expired = 0
    for _i in range(e.keyspace.opened):
        if e.keyspace.expiry.next_db >= e.keyspace.opened:
            e.keyspace.expiry.next_db = 0
        db = e.keyspace.dbs[e.keyspace.expiry.next_db]
        done = members_expire(db, start + EXPIRE_SLICE_US / 2)
        if ht_len(db.expires):
            done = _slice_db(db, start + EXPIRE_SLICE_US, &tally) and done
        if not done:
            break  # the next slice goes on here
        e.keyspace.expiry.next_db += 1
    took_us = cf_monotonic_us() - start
    e.keyspace.expiry.behind = not done
    if not done:  # the pause after this slice makes the share of the CPU what the effort allows
        e.stats.expired_time_cap_reached += 1
        e.keyspace.expiry.next_slice_us = start + took_us * 100 // (23 + 2 * e.params.active_expire_effort)
        engine_alarm(e, e.keyspace.expiry.next_slice_us)
    e.stats.expire_cycles += cf_cycles() - cycles
    if tally.sampled > e.stats.expire_slice_keys_max:
        e.stats.expire_slice_keys_max = tally.sampled
    if tally.sampled:
        e.keyspace.expiry.stale *= 0.95
        e.keyspace.expiry.stale += 0.05 * (<double>tally.expired / <double>tally.sampled)
    else:
        e.keyspace.expiry.stale = 0.95 * e.keyspace.expiry.stale
    e.stats.expired_stale_per_mille = <uint64_t>(e.keyspace.expiry.stale * 1000 + 0.5)
    latency_end(e, b"expire-cycle", latency_started)


cdef inline bint _may_run(engine_t* e) noexcept nogil:
    return (e.params.active_expire_enabled and not e.persist.loading and not e.params.import_mode
            and e.following == NULL and not paused(e))


cdef void expire_slow_cycle(engine_t* e) noexcept nogil:
    if _may_run(e):
        _slice(e)


cdef void expire_fast_cycle(engine_t* e) noexcept nogil:
    if e.keyspace.expiry.behind and _may_run(e):
        if cf_monotonic_us() >= e.keyspace.expiry.next_slice_us:
            _slice(e)
        else:
            engine_alarm(e, e.keyspace.expiry.next_slice_us)
