"""Pauses by purpose; see pause.pxd."""

from cachefleet_server.core.engine cimport PAUSE_PURPOSES, pause_t
from cachefleet_server.core.wake cimport engine_wake


cdef void pause_take_stock(engine_t* e) noexcept nogil:
    """The strongest of what is under way, and when the first of it ends."""
    cdef pause_t* p = &e.pause
    cdef int before = p.strength
    cdef int i
    p.strength = PAUSE_NOTHING
    p.next_end_ms = 0
    for i in range(PAUSE_PURPOSES):
        if p.until_ms[i] <= e.now_ms:
            p.until_ms[i] = 0
            p.strengths[i] = PAUSE_NOTHING
            continue
        p.strength = max(p.strength, p.strengths[i])
        if p.next_end_ms == 0 or p.until_ms[i] < p.next_end_ms:
            p.next_end_ms = p.until_ms[i]
    if p.strength < before:
        p.eased = True


cdef void pause_begin(engine_t* e, int purpose, int64_t until_ms, int strength) noexcept nogil:
    cdef pause_t* p = &e.pause
    pause_take_stock(e)  # what is over does not count any more
    p.until_ms[purpose] = max(p.until_ms[purpose], until_ms)
    p.strengths[purpose] = max(p.strengths[purpose], strength)
    pause_take_stock(e)
    engine_wake(e)  # a tick sees to it that one comes when it ends


cdef void pause_end(engine_t* e, int purpose) noexcept nogil:
    e.pause.until_ms[purpose] = 0
    pause_take_stock(e)
    engine_wake(e)


cdef int pause_purpose(const engine_t* e) noexcept nogil:
    cdef const pause_t* p = &e.pause
    cdef int best = 0
    cdef int i
    for i in range(1, PAUSE_PURPOSES):
        if p.strengths[i] > p.strengths[best] \
                or (p.strengths[i] == p.strengths[best] and p.until_ms[i] > p.until_ms[best]):
            best = i
    return best
