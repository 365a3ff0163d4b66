"""What makes a tick happen soon: waking and alarms of the engine, clients that go on or go away."""

from libc.stdint cimport int64_t, uint64_t
from posix.time cimport itimerspec
from posix.unistd cimport write

from cachefleet_server.core.engine cimport (
    CLIENT_CLOSE_ASAP, CLIENT_RESUMED, client_t, engine_t)
from cachefleet_server.ds.intrin cimport cf_monotonic_us

cdef enum:
    ALARM_MS = 10000

cdef extern from "<sys/timerfd.h>" nogil:
    enum: TFD_TIMER_ABSTIME
    int timerfd_settime(int fd, int flags, const itimerspec* when, itimerspec* old)

cdef inline void engine_wake(engine_t* e) noexcept nogil:
    """Makes a tick happen soon. Needed when output or work is created outside of a tick."""
    cdef uint64_t one = 1
    if not e.wake_pending and e.wake_fd >= 0:
        e.wake_pending = True
        write(e.wake_fd, &one, 8)

cdef inline void engine_alarm(engine_t* e, int64_t at_us) noexcept nogil:
    """Makes a tick happen at that time of the monotonic clock, or before; who is called too early asks again.
    Work that is done in slices paces itself so."""
    cdef itimerspec when
    if e.timer_fd < 0 or (e.alarm_us and e.alarm_us <= at_us):
        return
    e.alarm_us = at_us
    when.it_interval.tv_sec = 0
    when.it_interval.tv_nsec = 0
    when.it_value.tv_sec = at_us // 1000000
    when.it_value.tv_nsec = at_us % 1000000 * 1000
    timerfd_settime(e.timer_fd, TFD_TIMER_ABSTIME, &when, NULL)

cdef inline void engine_alarm_ms(engine_t* e, int64_t at_ms) noexcept nogil:
    """A tick right after that unix time; what is further away than ALARM_MS is left to cron."""
    if at_ms - e.now_ms < ALARM_MS:
        engine_alarm(e, cf_monotonic_us() + (at_ms - e.now_ms + 1) * 1000)

cdef inline void client_resume(client_t* c) noexcept nogil:
    """The client is no longer blocked: the next tick parses what input it has."""
    if not c.flags & CLIENT_RESUMED:
        c.flags |= CLIENT_RESUMED
        c.next_resumed = c.engine.clients.resumed
        c.engine.clients.resumed = c
        engine_wake(c.engine)

cdef inline void client_close_asap(client_t* c) noexcept nogil:
    """Frees the client at the end of the tick; nothing more is executed or written for it."""
    if not c.flags & CLIENT_CLOSE_ASAP:
        c.flags |= CLIENT_CLOSE_ASAP
        c.engine.clients.closing += 1
        engine_wake(c.engine)
