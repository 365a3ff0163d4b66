"""A helper thread and its jobs; see worker.pxd."""

from libc.stdlib cimport free

from cachefleet_server.ds.pthread cimport (
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_cond_signal, pthread_cond_wait,
    pthread_join, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, thread_start)


cdef void* _thread(void* argument) noexcept nogil:
    cdef worker_t* w = <worker_t*>argument
    cdef work_t* job
    pthread_mutex_lock(&w.lock)
    while True:
        while w.first == NULL and not w.stop:
            pthread_cond_wait(&w.filled, &w.lock)
        if w.first == NULL:
            break
        job = w.first
        w.first = job.next
        pthread_mutex_unlock(&w.lock)
        w.run(w.ctx, job)
        free(job)
        pthread_mutex_lock(&w.lock)
        w.jobs -= 1
        pthread_cond_broadcast(&w.done)
    pthread_mutex_unlock(&w.lock)
    return NULL


cdef void worker_init(worker_t* w, work_fn run, void* ctx) noexcept nogil:
    w.run = run
    w.ctx = ctx
    w.started = False
    w.first = NULL
    w.last = NULL
    w.jobs = 0
    w.stop = False
    pthread_mutex_init(&w.lock, NULL)
    pthread_cond_init(&w.filled, NULL)
    pthread_cond_init(&w.done, NULL)


cdef bint worker_submit(worker_t* w, work_t* job) noexcept nogil:
    if not w.started:
        if thread_start(&w.thread, _thread, w) != 0:
            return False
        w.started = True
    job.next = NULL
    pthread_mutex_lock(&w.lock)
    if w.first == NULL:
        w.first = job
    else:
        w.last.next = job
    w.last = job
    w.jobs += 1
    pthread_cond_signal(&w.filled)
    pthread_mutex_unlock(&w.lock)
    return True


cdef void worker_drain(worker_t* w) noexcept nogil:
    pthread_mutex_lock(&w.lock)
    while w.jobs:
        pthread_cond_wait(&w.done, &w.lock)
    pthread_mutex_unlock(&w.lock)


cdef void worker_stop(worker_t* w) noexcept nogil:
    if not w.started:
        return
    pthread_mutex_lock(&w.lock)
    w.stop = True
    pthread_cond_signal(&w.filled)
    pthread_mutex_unlock(&w.lock)
    pthread_join(w.thread, NULL)
    w.started = False
    w.stop = False


cdef void worker_free(worker_t* w) noexcept nogil:
    pthread_mutex_destroy(&w.lock)
    pthread_cond_destroy(&w.filled)
    pthread_cond_destroy(&w.done)
