"""POSIX threads and the calls of a helper thread, all without the GIL.

A helper thread never touches Python. It blocks all signals (`thread_start` does that before it exists), so that the
interpreter's signal handling stays with the main thread.

Conditions that are waited for with a bound count on the monotonic clock: a wall clock may be set back by hours.
"""

from libc.stdint cimport int64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* m, const void* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* m)
    int pthread_mutex_lock(pthread_mutex_t* m)
    int pthread_mutex_unlock(pthread_mutex_t* m)
    int pthread_cond_init(pthread_cond_t* c, const void* attributes)
    int pthread_cond_destroy(pthread_cond_t* c)
    int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m)
    int pthread_cond_signal(pthread_cond_t* c)
    int pthread_cond_broadcast(pthread_cond_t* c)
    int pthread_join(pthread_t thread, void** result)

cdef extern from *:
    """
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <sys/resource.h>
    #include <time.h>
    __attribute__((unused)) static int thread_start(pthread_t* thread, void* (*run)(void*), void* argument)
    {
        sigset_t all, before;
        int error;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(thread, NULL, run, argument);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return error;
    }

    __attribute__((unused)) static void thread_in_background(void)
    {
    #ifdef __linux__
        setpriority(PRIO_PROCESS, 0, 10);
    #endif
    }

    __attribute__((unused)) static int cond_init_timed(pthread_cond_t* cond)
    {
        pthread_condattr_t attributes;
        int error;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        error = pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
        return error;
    }

    __attribute__((unused)) static void deadline_after(struct timespec* deadline, int64_t us)
    {
        clock_gettime(CLOCK_MONOTONIC, deadline);
        deadline->tv_sec += us / 1000000;
        deadline->tv_nsec += us % 1000000 * 1000;
        if (deadline->tv_nsec >= 1000000000) {
            deadline->tv_nsec -= 1000000000;
            deadline->tv_sec++;
        }
    }
    """
    ctypedef struct timespec "struct timespec":
        pass
    void thread_in_background() nogil
        # The calling thread gets a tenth of a core that others want. Not for one others may wait for in the kernel.
    int cond_init_timed(pthread_cond_t* c) nogil
    void deadline_after(timespec* deadline, int64_t us) nogil
    int pthread_cond_timedwait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* deadline) nogil
    int thread_start(pthread_t* thread, void* (*run)(void*) noexcept nogil, void* argument) nogil  # 0 or an errno
