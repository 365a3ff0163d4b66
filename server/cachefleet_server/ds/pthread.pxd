"""POSIX threads and the calls of a helper thread, all without the GIL.

A helper thread never touches Python. It blocks all signals (`thread_start` does that before it exists), so that the
interpreter's signal handling stays with the main thread.
"""

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
    """
    int thread_start(pthread_t* thread, void* (*run)(void*) noexcept nogil, void* argument) nogil  # 0 or an errno
