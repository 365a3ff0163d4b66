"""The merging thread; see merger.pxd."""

from libc.stdlib cimport calloc, free

from cachefleet_server.ds.mapping cimport HUGE_PAGE, map_collapse
from cachefleet_server.ds.pthread cimport (
    pthread_cond_destroy, pthread_cond_init, pthread_cond_signal, pthread_cond_t, pthread_cond_wait, pthread_join,
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock, pthread_t,
    thread_start)

cdef enum:
    RING = 256  # ranges

cdef struct range_t:
    char* p
    size_t bytes

cdef struct merger_t:
    pthread_t thread
    pthread_mutex_t lock  # guards all that follows
    pthread_cond_t work  # a range came, or stop
    bint started
    bint stop
    size_t added
    size_t taken
    range_t ring[RING]


cdef merger_t* merger_new() noexcept nogil:
    cdef merger_t* m = <merger_t*>calloc(1, sizeof(merger_t))
    if m != NULL:
        pthread_mutex_init(&m.lock, NULL)
        pthread_cond_init(&m.work, NULL)
    return m


cdef void merger_free(merger_t* m) noexcept nogil:
    if m == NULL:
        return
    if m.started:
        pthread_mutex_lock(&m.lock)
        m.stop = True
        pthread_cond_signal(&m.work)
        pthread_mutex_unlock(&m.lock)
        pthread_join(m.thread, NULL)
    pthread_cond_destroy(&m.work)
    pthread_mutex_destroy(&m.lock)
    free(m)


cdef void* _run(void* argument) noexcept nogil:
    cdef merger_t* m = <merger_t*>argument
    cdef range_t* r
    cdef char* p
    pthread_mutex_lock(&m.lock)
    while not m.stop:
        if m.taken == m.added:
            pthread_cond_wait(&m.work, &m.lock)
            continue
        r = &m.ring[m.taken % RING]
        if r.bytes < HUGE_PAGE:
            m.taken += 1
            continue
        p = r.p
        r.p += HUGE_PAGE
        r.bytes -= HUGE_PAGE
        pthread_mutex_unlock(&m.lock)
        map_collapse(p, HUGE_PAGE)
        pthread_mutex_lock(&m.lock)
    pthread_mutex_unlock(&m.lock)
    return NULL


cdef void merger_add(merger_t* m, void* p, size_t bytes) noexcept nogil:
    cdef range_t* r
    if not m.started:
        m.started = thread_start(&m.thread, _run, m) == 0
        if not m.started:
            return
    pthread_mutex_lock(&m.lock)
    if m.added - m.taken < RING:
        r = &m.ring[m.added % RING]
        r.p = <char*>p
        r.bytes = bytes
        m.added += 1
        pthread_cond_signal(&m.work)
    pthread_mutex_unlock(&m.lock)
