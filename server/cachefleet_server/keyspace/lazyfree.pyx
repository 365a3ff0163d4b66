"""What is freed by a helper thread (ds/worker.pxd), and freeing at once.

What is handed over is no longer reachable from the engine, so the helper needs no lock while it frees. It never
touches the engine's heap counter: everything is freed on an accounting heap of the job's own, whose balance is added to
`freed_remote` at the end.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cachefleet_server.core.entry cimport OBJ_STRING, entry_free_shell, entry_free_string, entry_memory, entry_type
from cachefleet_server.core.types cimport entry_ops, value_effort, value_is_shared, value_release
from cachefleet_server.ds.hashtable cimport ht_free, ht_len
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_atomic_get, cf_unlikely
from cachefleet_server.ds.worker cimport (
    work_t, worker_drain, worker_free, worker_init, worker_stop, worker_submit, worker_t)
from cachefleet_server.ds.zmalloc cimport heap_t, zcalloc, zfree

cdef enum:
    USAGE_SAMPLES = 5  # elements by which the size of a value is estimated

cdef struct job_t:  # not accounted: it exists only on its way to the helper
    work_t work
    entry_t* entry  # or the tables
    hashtable_t* keys
    hashtable_t* expires
    size_t objects

cdef struct lazyfree_t:
    engine_t* engine
    worker_t worker
    size_t pending  # atomic: objects in jobs that are not done


# ---- freeing -------------------------------------------------------------------------------------------

cdef inline void _free_on(engine_t* e, heap_t* heap, entry_t* entry) noexcept nogil:
    """Frees an entry on a heap of this thread's. Fast path. If: a string. Then: no call through its row."""
    if entry_type(entry) == OBJ_STRING:
        entry_free_string(heap, entry)
    else:
        value_release(entry_ops(e, entry), heap, entry)
        entry_free_shell(heap, entry)


cdef inline void _before_free(engine_t* e, entry_t* entry) noexcept nogil:
    """A value that a snapshot holds stays until that is done; other keys must not be evicted for it."""
    if cf_unlikely(e.snapshot_ctx != NULL) and value_is_shared(entry):
        e.snapshot_alone += entry_memory(entry) + entry_ops(e, entry).memory_fn(e, entry, USAGE_SAMPLES)


cdef void entry_free(engine_t* e, entry_t* entry) noexcept nogil:
    _before_free(e, entry)
    _free_on(e, e.heap, entry)


cdef struct _sweep_t:
    engine_t* engine
    heap_t* heap


cdef void _sweep(void* ctx, void* element) noexcept nogil:
    cdef _sweep_t* s = <_sweep_t*>ctx
    _free_on(s.engine, s.heap, <entry_t*>element)


cdef void _free_tables(engine_t* e, heap_t* heap, hashtable_t* keys, hashtable_t* expires) noexcept nogil:
    cdef _sweep_t s
    s.engine = e
    s.heap = heap
    if expires != NULL:
        expires.heap = heap
        ht_free(expires, NULL, NULL)
    if keys != NULL:
        keys.heap = heap
        ht_free(keys, _sweep, &s)


cdef void tables_free(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil:
    _free_tables(e, e.heap, keys, expires)


# ---- the thread ------------------------------------------------------------------------------------------

cdef void _run(void* ctx, work_t* work) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>ctx
    cdef engine_t* e = q.engine
    cdef job_t* job = <job_t*>work
    cdef heap_t own
    memset(&own, 0, sizeof(own))  # without slabs: objects go back to those of their owner
    if job.entry != NULL:
        _free_on(e, &own, job.entry)
    else:
        _free_tables(e, &own, job.keys, job.expires)
    cf_atomic_add(&e.heap.freed_remote, 0 - own.used)  # `own` only gave back: its balance is below zero
    cf_atomic_add(<size_t*>&e.stats.lazyfreed_objects, job.objects)
    cf_atomic_add(&q.pending, 0 - job.objects)


cdef lazyfree_t* _queue(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    if q == NULL:
        q = <lazyfree_t*>zcalloc(e.heap, sizeof(lazyfree_t))
        q.engine = e
        worker_init(&q.worker, _run, q)
        e.lazyfree = q
    return q


cdef bint _hand_over(
    engine_t* e, entry_t* entry, hashtable_t* keys, hashtable_t* expires, size_t objects
) noexcept nogil:
    """False if the caller has to free by itself: no thread, no memory for a job, or a full queue."""
    cdef lazyfree_t* q = _queue(e)
    cdef job_t* job
    if cf_unlikely(q.worker.jobs >= LAZYFREE_QUEUE_MAX):  # a stale count only makes the limit a little softer
        return False
    job = <job_t*>malloc(sizeof(job_t))
    if job == NULL:
        return False
    job.entry = entry
    job.keys = keys
    job.expires = expires
    job.objects = objects
    cf_atomic_add(&q.pending, objects)
    if not worker_submit(&q.worker, &job.work):
        cf_atomic_add(&q.pending, 0 - objects)
        free(job)
        return False
    return True


cdef void lazyfree_stop(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    if q == NULL:
        return
    worker_stop(&q.worker)
    worker_free(&q.worker)
    e.lazyfree = NULL
    zfree(e.heap, q)


cdef void lazyfree_wait(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    if q != NULL:
        worker_drain(&q.worker)


cdef size_t lazyfree_pending(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    return cf_atomic_get(&q.pending) if q != NULL else 0


# ---- what is worth a hand-over ---------------------------------------------------------------------------

cdef void lazyfree_entry(engine_t* e, entry_t* entry) noexcept nogil:
    if value_effort(entry_ops(e, entry), entry) <= LAZYFREE_EFFORT or not _hand_over(e, entry, NULL, NULL, 1):
        entry_free(e, entry)


cdef void lazyfree_table(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil:
    cdef size_t objects = 0
    if keys != NULL:
        objects += ht_len(keys)
    elif expires != NULL:
        objects += ht_len(expires)
    if objects <= LAZYFREE_EFFORT or not _hand_over(e, NULL, keys, expires, objects):
        tables_free(e, keys, expires)
