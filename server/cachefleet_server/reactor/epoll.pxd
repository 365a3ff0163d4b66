"""Declarations of epoll, eventfd, timerfd and the socket calls that the reactor makes."""

from libc.stdint cimport uint32_t, uint64_t

from cachefleet_server.resp.writer cimport iovec

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
        int fd
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initval, int flags)
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC

cdef extern from "<sys/timerfd.h>" nogil:
    int timerfd_create(int clock, int flags)
    enum:
        CLOCK_MONOTONIC
        TFD_NONBLOCK
        TFD_CLOEXEC

cdef extern from "<sys/uio.h>" nogil:
    ssize_t writev(int fd, const iovec* iov, int count)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void* p, size_t n)
    ssize_t write(int fd, const void* p, size_t n)
    int close(int fd)
