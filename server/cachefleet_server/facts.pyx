"""What can be read off an engine: counters, sizes, histograms, as Python values. See engine.pyi.

Nothing here changes anything. `stats` is for INFO and metrics; `counters` alone is cheap enough to be sampled often.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.digest cimport DIGEST_BYTES, digest_add, digest_mix, digest_mix_number, entry_digest
from cachefleet_server.core.engine cimport DURATION_BUCKETS, client_t, command_t, db_t, rdb_out_t
from cachefleet_server.core.entry cimport (
    ENC_HASHTABLE, ENC_QUICKLIST, ENC_SKIPLIST, OBJ_STREAM, entry_encoding, entry_key, entry_t, entry_type)
from cachefleet_server.core.list_value cimport list_sequence
from cachefleet_server.core.members cimport members_of
from cachefleet_server.core.params cimport POLICY_LFU
from cachefleet_server.core.pause cimport pause_purpose, paused
from cachefleet_server.core.rdb cimport rdb_dialect_of, rdb_out_free, rdb_out_init, rdb_put_value
from cachefleet_server.core.stream_type cimport entry_stream
from cachefleet_server.core.types cimport entry_encoding_name
from cachefleet_server.ds.hash cimport hash_bytes
from cachefleet_server.ds.ht_stats cimport HT_STATS_CHAINS, ht_stats, ht_stats_t
from cachefleet_server.ds.listblock cimport lb_saved_size
from cachefleet_server.ds.seq_reading cimport seq_block, seq_block_next, seq_done, seq_iter_t, seq_seek
from cachefleet_server.ds.sequence cimport seq_blocks, seq_len, seq_t
from cachefleet_server.ds.slab cimport SLAB_PAGE, slab_bytes, slab_check
from cachefleet_server.ds.stream cimport stream_lag, stream_t
from cachefleet_server.ds.stream_group cimport sgroup_t
from cachefleet_server.ds.zmalloc cimport heap_used
from cachefleet_server.fields cimport STATS, stat_at
from cachefleet_server.keyspace.blocked cimport blocked_check
from cachefleet_server.keyspace.channels cimport (
    LISTEN_CHANNEL, LISTEN_PATTERN, LISTEN_SHARD, channels_check, channels_count, channels_totals)
from cachefleet_server.keyspace.db cimport (
    db_check, db_expiring, db_find, db_len, db_scan, db_stats, db_tables, db_tables_t, entry_usage)
from cachefleet_server.keyspace.evict cimport entry_idle_ms, evict_exceeded_us
from cachefleet_server.keyspace.held cimport held_total, held_total_t
from cachefleet_server.keyspace.interest cimport interest_check
from cachefleet_server.keyspace.keyspace cimport keyspace_db
from cachefleet_server.keyspace.lazyfree cimport lazyfree_pending
from cachefleet_server.keyspace.tracking cimport tracking_check, tracking_totals, tracking_totals_t
from cachefleet_server.reactor.connection cimport client_memory
from cachefleet_server.resp.writer cimport out_check

cdef extern from "<malloc.h>" nogil:
    ctypedef struct mallinfo2_t "struct mallinfo2":
        size_t arena  # bytes of the heap proper
        size_t hblkhd  # bytes mapped apart
        size_t uordblks  # in use
        size_t fordblks  # free
    mallinfo2_t mallinfo2()

cdef struct digest_t:
    engine_t* engine
    uint8_t sum[20]  # DIGEST_BYTES


cdef struct _sum_t:
    engine_t* engine
    size_t bytes


cdef void _add_usage(void* ctx, void* element) noexcept nogil:
    cdef _sum_t* s = <_sum_t*>ctx
    s.bytes += entry_usage(s.engine, <entry_t*>element, 0)


cdef int _check_databases(engine_t* e, list wrong) except -1:
    cdef _sum_t s
    cdef db_tables_t tables
    cdef uint64_t cursor
    cdef int i, error
    s.engine = e
    s.bytes = 0
    for i in range(e.keyspace.opened):
        error = db_check(e.keyspace.dbs[i])
        if error:
            wrong.append(f"database {e.keyspace.dbs[i].id}: {error}")
        tables = db_tables(e.keyspace.dbs[i])
        s.bytes += tables.keys + tables.expires
        cursor = 0
        while not error:
            cursor = db_scan(e.keyspace.dbs[i], cursor, _add_usage, &s)
            if cursor == 0:
                break
    if s.bytes > heap_used(e.heap):
        wrong.append(f"used_memory {heap_used(e.heap)} is less than the data alone, {s.bytes}")
    return 0


cdef object check(engine_t* e):
    cdef client_t* c = client_first(e)
    cdef int i, error
    wrong = []
    _check_databases(e, wrong)
    checks = {"slabs": slab_check(e.heap.slab), "deadlines": blocked_check(e), "interest": interest_check(e),
              "channels": channels_check(e), "tracking": tracking_check(e)}
    wrong += [f"{name}: {error}" for name, error in checks.items() if error]
    for i in range(1, e.keyspace.eviction.pool_len):
        if e.keyspace.eviction.pool[i].rank < e.keyspace.eviction.pool[i - 1].rank:
            wrong.append(f"eviction pool: candidate {i} is out of order")
    if e.journal.buf.len > e.journal.buf.cap or e.journal.depth < 0 or (e.journal.multi_open and e.journal.depth == 0):
        wrong.append("journal")
    if e.current == NULL and e.clients.pushed != NULL:
        wrong.append("pushes wait although no command runs")
    while c != NULL:
        error = out_check(&c.out)
        if error:
            wrong.append(f"output of client {c.id}: {error}")
        c = client_next(c)
    return wrong


cdef object counters(engine_t* e):
    values = {name: stat_at(e, name)[0] for name in STATS}
    for name in ("tick", "command", "expire"):
        values[name + "_us"] = int(values[name + "_cycles"] / e.cycles_per_us)
    return values


cdef object stats(engine_t* e):
    cdef int i
    cdef db_tables_t tables
    cdef tracking_totals_t tracking = tracking_totals(e)
    cdef held_total_t held = held_total(e)
    values = counters(e)
    keys = expires = overhead = rehashing = 0
    for i in range(e.keyspace.opened):
        keys += db_len(e.keyspace.dbs[i])
        expires += db_expiring(e.keyspace.dbs[i])
        tables = db_tables(e.keyspace.dbs[i])
        overhead += tables.keys + tables.expires
        rehashing += tables.rehashing
    values.update(
        used_memory=heap_used(e.heap), used_memory_peak=e.heap.peak, keys=keys, expires=expires,
        keyspace_overhead=overhead, rehashing_bytes=rehashing,
        held_clients=held.clients, held_replies=held.replies, held_longest_ms=held.longest_ms,
        clients=e.clients.count, blocked_clients=e.clients.blocked, monitors=e.clients.monitors,
        watching_clients=e.keyspace.watching, watched_keys=e.keyspace.watched_keys,
        blocking_keys=e.keyspace.blocking_keys, blocking_keys_on_nokey=e.keyspace.blocking_keys_on_nokey,
        clients_in_timeout_table=e.clients.deadline_count,
        clients_normal=e.clients.class_count[0],
        tracking_clients=tracking.clients, tracking_keys=tracking.keys, tracking_items=tracking.items,
        tracking_prefixes=tracking.prefixes,
        pubsub_channels=channels_count(e, LISTEN_CHANNEL), pubsub_patterns=channels_count(e, LISTEN_PATTERN),
        pubsubshard_channels=channels_count(e, LISTEN_SHARD), pubsub_deliveries=channels_totals(e).deliveries,
        pubsub_lost=channels_totals(e).lost,
        clients_replica=e.clients.class_count[1], clients_pubsub=e.clients.class_count[2],
        lazyfree_pending=lazyfree_pending(e), journal_bytes=e.journal.buf.len, now_ms=e.now_ms,
        lru_clock=e.lru_clock,
        loading=e.persist.loading, dirty=e.persist.dirty, load_total_bytes=e.persist.load_total_bytes,
        load_done_bytes=e.persist.load_done_bytes, load_keys=e.persist.load_keys,
        load_keys_expired=e.persist.load_keys_expired, aof_write_failed=e.persist.aof_write_failed,
        bgsave_failed=e.persist.bgsave_failed,
        save_points=e.persist.save_points,
        pause_strength=paused(e), pause_purpose=pause_purpose(e), paused_until_ms=e.pause.until_ms[pause_purpose(e)],
        eviction_exceeded_now_us=evict_exceeded_us(e),
        largest_input=max(e.stats.largest_input, e.clients.earlier_largest_input),
        largest_output=max(e.stats.largest_output, e.clients.earlier_largest_output))
    return values


cdef object clients_memory(engine_t* e):
    cdef client_t* c = client_first(e)
    cdef size_t total = 0
    while c != NULL:
        total += client_memory(c)
        c = client_next(c)
    return total


cdef object command_stats(engine_t* e):
    cdef int i, k
    cdef command_t* cmd
    rows = []
    for i in range(e.commands.count):
        cmd = e.commands.rows[i]
        if cmd.stats.calls or cmd.stats.rejected or cmd.stats.failed:
            rows.append((
                cmd.name.decode(), cmd.stats.calls, <uint64_t>(cmd.stats.cycles / e.cycles_per_us),
                cmd.stats.rejected, cmd.stats.failed, [cmd.stats.histogram[k] for k in range(DURATION_BUCKETS)]))
    return rows


cdef object tick_histogram(engine_t* e):
    cdef int i
    return [e.tick_histogram[i] for i in range(DURATION_BUCKETS)]


cdef object error_stats(engine_t* e):
    cdef int i
    counts = {e.errors[i].prefix.decode(): e.errors[i].count for i in range(e.error_kinds)}
    if e.errors_overflow:
        counts["ERRORSTATS_OVERFLOW"] = e.errors_overflow
    return counts


cdef object keyspace(engine_t* e):
    cdef int i
    return [
        (e.keyspace.dbs[i].id, db_len(e.keyspace.dbs[i]), db_expiring(e.keyspace.dbs[i]), e.keyspace.dbs[i].avg_ttl_ms,
         e.keyspace.dbs[i].timed_count)
        for i in range(e.keyspace.opened) if db_len(e.keyspace.dbs[i])]


cdef object allocator_stats(engine_t* e):
    """malloc's own figures are the process's, not this engine's; with the slabs and tables, which lie elsewhere."""
    cdef mallinfo2_t m = mallinfo2()
    cdef size_t mapped = m.hblkhd
    cdef int i
    for i in range(e.keyspace.opened):
        mapped += db_tables(e.keyspace.dbs[i]).mapped
    return {
        "allocator_allocated": m.uordblks + mapped + slab_bytes(e.heap.slab),
        "allocator_active": m.arena + mapped + e.heap.slab.pages * SLAB_PAGE,
        "allocator_free": m.fordblks,
        "mem_allocator": "libc",
    }


cdef entry_t* _entry(engine_t* e, int db, bytes key) except? NULL:
    """Whatever its time: neither a use of the key nor a hit or miss."""
    return db_find(keyspace_db(e.keyspace, db), key, len(key), hash_bytes(key, len(key), &e.seed))


cdef object memory_usage(engine_t* e, int db, bytes key, size_t samples):
    cdef entry_t* entry = _entry(e, db, key)
    return entry_usage(e, entry, samples) if entry != NULL else None


cdef object value_facts(engine_t* e, int db, bytes key):
    """Whatever the key's time and whoever asks, as DEBUG OBJECT wants it."""
    cdef entry_t* entry = _entry(e, db, key)
    cdef rdb_out_t out
    cdef size_t saved
    if entry == NULL:
        return None
    rdb_out_init(&out, e.heap, rdb_dialect_of(e, entry))
    out.compress = not e.persist.rdb_uncompressed
    rdb_put_value(&out, e, entry)
    saved = out.buf.len - 1  # without the type's byte
    rdb_out_free(&out)
    idle_s = 0 if e.params.maxmemory_policy & POLICY_LFU else entry_idle_ms(e, entry) // 1000
    return entry_encoding_name(e, entry).decode(), saved, idle_s, _quicklist_facts(e, entry)


cdef object _quicklist_facts(engine_t* e, const entry_t* entry):
    """Nodes, elements, list-max-listpack-size, list-compress-depth, bytes of all nodes as a file has them."""
    cdef const seq_t* s
    cdef seq_iter_t it
    cdef size_t size = 0
    if entry_encoding(entry) != ENC_QUICKLIST:
        return None
    s = list_sequence(entry)
    seq_seek(&it, e.heap, s, 0, False)
    while seq_block(&it) != NULL:
        size += lb_saved_size(seq_block(&it))
        seq_block_next(&it)
    seq_done(&it)
    return seq_blocks(s), seq_len(s), s.fill, s.depth, size


cdef object stream_facts(engine_t* e, int db, bytes key):
    """Neither a use of the key nor a hit or miss."""
    cdef entry_t* entry = _entry(e, db, key)
    cdef const stream_t* s
    cdef const sgroup_t* g
    cdef int64_t lag
    cdef uint32_t i
    cdef list groups = []
    if entry == NULL or entry_type(entry) != OBJ_STREAM:
        return None
    s = entry_stream(entry)
    for i in range(s.group_count):
        g = s.groups[i]
        known = stream_lag(s, g, &lag)
        groups.append((g.name[:g.name_len], g.len, g.pending.count, lag if known else None))
    return s.length, groups


cdef object table_memory(engine_t* e):
    cdef int i
    cdef db_t** dbs = e.keyspace.dbs
    return [
        (dbs[i].id, db_tables(dbs[i]).keys, db_tables(dbs[i]).expires)
        for i in range(e.keyspace.opened) if db_len(dbs[i])]


cdef list _tables(const ht_stats_t[2] stats, bint chains):
    """What DEBUG HTSTATS tells of one table, or of two while it is resized."""
    cdef int ti
    found = []
    for ti in range(2):
        if stats[ti].room:
            table = {"room": stats[ti].room, "used": stats[ti].used, "rehash_index": stats[ti].rehash_index}
            if chains:
                table.update(
                    buckets=stats[ti].buckets, children=stats[ti].children, longest=stats[ti].longest,
                    chains=[stats[ti].chains[i] for i in range(HT_STATS_CHAINS)])
            found.append(table)
    return found


cdef object table_stats(engine_t* e, int db, bint chains):
    cdef ht_stats_t keys[2]
    cdef ht_stats_t expires[2]
    db_stats(keyspace_db(e.keyspace, db), keys, expires, chains)
    return _tables(keys, chains), _tables(expires, chains)


cdef object member_table_stats(engine_t* e, int db, bytes key, bint chains):
    cdef entry_t* entry = _entry(e, db, key)
    cdef ht_stats_t stats[2]
    if entry == NULL:
        return None
    if entry_encoding(entry) not in (ENC_HASHTABLE, ENC_SKIPLIST):
        return []
    ht_stats(&members_of(entry).table, stats, chains)
    return _tables(stats, chains)


# ---- signatures, equal to Valkey's for equal data ------------------------------------------------------

cdef void _digest_key(void* ctx, void* element) noexcept nogil:
    cdef digest_t* all = <digest_t*>ctx
    cdef uint8_t digest[DIGEST_BYTES]
    cdef entry_t* entry = <entry_t*>element
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    memset(digest, 0, sizeof(digest))
    digest_mix(digest, key, nk)
    entry_digest(all.engine, entry, digest)
    digest_add(all.sum, digest, DIGEST_BYTES)


cdef object digest(engine_t* e):
    """Of all keys of all databases."""
    cdef digest_t all
    cdef db_t* db
    cdef uint64_t cursor
    cdef int i
    memset(&all, 0, sizeof(all))
    all.engine = e
    for i in range(e.keyspace.opened):
        db = e.keyspace.dbs[i]
        if db_len(db) == 0:
            continue
        digest_mix_number(all.sum, db.id)
        cursor = db_scan(db, 0, _digest_key, &all)
        while cursor:
            cursor = db_scan(db, cursor, _digest_key, &all)
    return all.sum[:DIGEST_BYTES]


cdef object value_digest(engine_t* e, int db, bytes key):
    cdef uint8_t digest[DIGEST_BYTES]
    cdef entry_t* entry = _entry(e, db, key)
    memset(digest, 0, sizeof(digest))
    if entry != NULL:
        entry_digest(e, entry, digest)
    return digest[:DIGEST_BYTES]
