"""A helper thread and the jobs that wait for it, done one after the other in their order.

    owner's thread --- worker_submit ---> [ queue ] ---> helper: run(ctx, job), then free(job)

A job is a malloc'd struct whose first member is a `work_t`; the worker frees it, what it points to is run's business.
The thread begins with the first job and takes neither signals nor the GIL, so a worker without jobs costs nothing.
`lock` may also guard what owner and run share besides; run is called without it.
"""

from cachefleet_server.ds.pthread cimport pthread_cond_t, pthread_mutex_t, pthread_t

cdef struct work_t:
    work_t* next

ctypedef void (*work_fn)(void* ctx, work_t* job) noexcept nogil

cdef struct worker_t:
    work_fn run
    void* ctx
    bint started
    pthread_t thread
    pthread_mutex_t lock
    pthread_cond_t filled  # a job came, or stop
    pthread_cond_t done  # a job is done
    work_t* first  # under the lock, as all that follows
    work_t* last
    size_t jobs  # waiting or running
    bint stop

cdef void worker_init(worker_t* w, work_fn run, void* ctx) noexcept nogil
cdef bint worker_submit(worker_t* w, work_t* job) noexcept nogil
    # Takes the job; false, and it stays the caller's, when there is no thread to be had.
cdef void worker_drain(worker_t* w) noexcept nogil  # until all jobs are done
cdef void worker_stop(worker_t* w) noexcept nogil  # ends the thread after its jobs; the next job starts one again
cdef void worker_free(worker_t* w) noexcept nogil  # after worker_stop
