"""The helper thread that frees, its queue, and freeing at once.

    engine's thread --- job_t --> [ queue under a mutex ] --> helper thread: free, then count

What is handed over is no longer reachable from the engine, so the helper needs no lock while it frees. It never
touches the engine's heap counter: values report to `freed_remote` by their `remote` flag, and a table is freed
on an accounting heap of the job's own, whose balance is added to `freed_remote` at the end.

`pending` counts objects queued and not freed yet; `busy` counts jobs. Both change under the mutex; reading
`pending` needs none.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.signal cimport sigfillset, sigset_t

from cachefleet_server.core.entry cimport (
    E_EMBED, ENC_INT, OBJ_STRING, entry_encoding, entry_free_shell, entry_free_string, entry_payload, entry_type)
from cachefleet_server.core.engine cimport type_ops_t
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.hashtable cimport ht_free, ht_len
from cachefleet_server.ds.intrin cimport cf_atomic_add, cf_atomic_get, cf_unlikely
from cachefleet_server.ds.zmalloc cimport heap_t, zcalloc, zfree

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_create(pthread_t* t, const void* attr, void* (*fn)(void*) noexcept nogil, void* arg)
    int pthread_join(pthread_t t, void** result)
    int pthread_mutex_init(pthread_mutex_t* m, const void* attr)
    int pthread_mutex_destroy(pthread_mutex_t* m)
    int pthread_mutex_lock(pthread_mutex_t* m)
    int pthread_mutex_unlock(pthread_mutex_t* m)
    int pthread_cond_init(pthread_cond_t* c, const void* attr)
    int pthread_cond_destroy(pthread_cond_t* c)
    int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m)
    int pthread_cond_signal(pthread_cond_t* c)
    int pthread_cond_broadcast(pthread_cond_t* c)

cdef extern from "<signal.h>" nogil:
    enum: SIG_SETMASK
    int pthread_sigmask(int how, const sigset_t* set, sigset_t* old)

cdef struct job_t:  # not accounted: it exists only on its way to the helper
    job_t* next
    entry_t* entry  # or the tables
    hashtable_t* keys
    hashtable_t* expires
    size_t objects

cdef struct lazyfree_t:
    engine_t* engine
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t work  # a job came, or stop
    pthread_cond_t idle  # no job is left
    job_t* first
    job_t* last
    size_t jobs  # queued or being freed
    size_t pending  # objects in them; changed under the lock, read without
    bint stop


# ---- freeing -------------------------------------------------------------------------------------------

cdef inline void _free_on(engine_t* e, heap_t* heap, entry_t* entry, bint remote) noexcept nogil:
    """Frees an entry whose memory `heap` accounts for. Collections of the helper report to e.heap by `remote`."""
    cdef int type = entry_type(entry)
    if type != OBJ_STRING:
        e.types[type].free_fn(e.heap, entry_encoding(entry), entry_payload(entry)[0], remote)
        entry_free_shell(heap, entry)
    else:
        entry_free_string(heap, entry)


cdef void entry_free(engine_t* e, entry_t* entry) noexcept nogil:
    _free_on(e, e.heap, entry, False)


cdef struct _sweep_t:
    engine_t* engine
    heap_t* heap
    bint remote


cdef void _sweep(void* ctx, void* element) noexcept nogil:
    cdef _sweep_t* s = <_sweep_t*>ctx
    _free_on(s.engine, s.heap, <entry_t*>element, s.remote)


cdef void _free_tables(engine_t* e, heap_t* heap, hashtable_t* keys, hashtable_t* expires, bint remote) noexcept nogil:
    cdef _sweep_t s
    s.engine = e
    s.heap = heap
    s.remote = remote
    if expires != NULL:
        expires.heap = heap
        ht_free(expires, NULL, NULL)
    if keys != NULL:
        keys.heap = heap
        ht_free(keys, _sweep, &s)


cdef void tables_free(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil:
    _free_tables(e, e.heap, keys, expires, False)


# ---- the thread ------------------------------------------------------------------------------------------

cdef void _run(engine_t* e, job_t* job) noexcept nogil:
    cdef heap_t own
    memset(&own, 0, sizeof(own))  # without slabs: objects go back to those of their owner
    if job.entry != NULL:
        _free_on(e, &own, job.entry, True)
    else:
        _free_tables(e, &own, job.keys, job.expires, True)
    cf_atomic_add(&e.heap.freed_remote, 0 - own.used)  # `own` only gave back: its balance is below zero
    cf_atomic_add(<size_t*>&e.stats.lazyfreed_objects, job.objects)


cdef void* _thread(void* arg) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>arg
    cdef job_t* job
    pthread_mutex_lock(&q.lock)
    while True:
        while q.first == NULL and not q.stop:
            pthread_cond_wait(&q.work, &q.lock)
        if q.first == NULL:
            break
        job = q.first
        q.first = job.next
        pthread_mutex_unlock(&q.lock)
        _run(q.engine, job)
        pthread_mutex_lock(&q.lock)
        cf_atomic_add(&q.pending, 0 - job.objects)
        q.jobs -= 1
        if q.jobs == 0:
            pthread_cond_broadcast(&q.idle)
        free(job)
    pthread_mutex_unlock(&q.lock)
    return NULL


cdef lazyfree_t* _start(engine_t* e) noexcept nogil:
    """The queue with its thread, or NULL. The thread takes no signals: they are for Python's main thread."""
    cdef lazyfree_t* q = <lazyfree_t*>zcalloc(e.heap, sizeof(lazyfree_t))
    cdef sigset_t all_signals, before
    cdef int failed
    q.engine = e
    pthread_mutex_init(&q.lock, NULL)
    pthread_cond_init(&q.work, NULL)
    pthread_cond_init(&q.idle, NULL)
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    failed = pthread_create(&q.thread, NULL, _thread, q)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    if failed:
        _destroy(e, q)
        return NULL
    e.lazyfree = q
    return q


cdef void _destroy(engine_t* e, lazyfree_t* q) noexcept nogil:
    pthread_cond_destroy(&q.idle)
    pthread_cond_destroy(&q.work)
    pthread_mutex_destroy(&q.lock)
    zfree(e.heap, q)


cdef bint _hand_over(
    engine_t* e, entry_t* entry, hashtable_t* keys, hashtable_t* expires, size_t objects
) noexcept nogil:
    """False if the caller has to free by itself: no thread, no memory for a job, or a full queue."""
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    cdef job_t* job
    if q == NULL:
        q = _start(e)
        if q == NULL:
            return False
    if cf_unlikely(q.jobs >= LAZYFREE_QUEUE_MAX):  # a stale count only makes the limit a little softer
        return False
    job = <job_t*>malloc(sizeof(job_t))
    if job == NULL:
        return False
    job.next = NULL
    job.entry = entry
    job.keys = keys
    job.expires = expires
    job.objects = objects
    pthread_mutex_lock(&q.lock)
    if q.first == NULL:
        q.first = job
    else:
        q.last.next = job
    q.last = job
    q.jobs += 1
    cf_atomic_add(&q.pending, objects)
    pthread_cond_signal(&q.work)
    pthread_mutex_unlock(&q.lock)
    return True


cdef void lazyfree_stop(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    if q == NULL:
        return
    pthread_mutex_lock(&q.lock)
    q.stop = True
    pthread_cond_signal(&q.work)
    pthread_mutex_unlock(&q.lock)
    pthread_join(q.thread, NULL)
    e.lazyfree = NULL
    _destroy(e, q)


cdef void lazyfree_wait(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    if q == NULL:
        return
    pthread_mutex_lock(&q.lock)
    while q.jobs:
        pthread_cond_wait(&q.idle, &q.lock)
    pthread_mutex_unlock(&q.lock)


cdef size_t lazyfree_pending(engine_t* e) noexcept nogil:
    cdef lazyfree_t* q = <lazyfree_t*>e.lazyfree
    return cf_atomic_get(&q.pending) if q != NULL else 0


# ---- what is worth a hand-over ---------------------------------------------------------------------------

cdef bint _is_expensive(engine_t* e, entry_t* entry) noexcept nogil:
    cdef int type = entry_type(entry)
    cdef type_ops_t* ops
    if type == OBJ_STRING:
        if entry.flags & E_EMBED or entry_encoding(entry) == ENC_INT:
            return False
        return (<blob_t*>entry_payload(entry)[0]).len >= LAZYFREE_BLOB
    ops = &e.types[type]
    return ops.free_effort_fn(entry_encoding(entry), entry_payload(entry)[0]) > LAZYFREE_EFFORT


cdef void lazyfree_entry(engine_t* e, entry_t* entry) noexcept nogil:
    if not _is_expensive(e, entry) or not _hand_over(e, entry, NULL, NULL, 1):
        entry_free(e, entry)


cdef void lazyfree_table(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil:
    cdef size_t objects = 0
    if keys != NULL:
        objects += ht_len(keys)
    elif expires != NULL:
        objects += ht_len(expires)
    if objects <= LAZYFREE_EFFORT or not _hand_over(e, NULL, keys, expires, objects):
        tables_free(e, keys, expires)
