"""Conditions on a string's value, by its bytes or by its digest."""

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport entry_t

cdef enum:
    COND_NONE = 0
    COND_NX = 1
    COND_XX = 2
    COND_IFEQ = 3
    COND_IFNE = 4
    COND_IFDEQ = 5
    COND_IFDNE = 6

    COND_FAILS = 0
    COND_HOLDS = 1
    COND_REPLIED = -1  # an error was replied

cdef int condition_check(client_t* c, entry_t* entry, int condition, const arg_t* operand) noexcept nogil
    # Whether a write under this condition may go ahead; entry NULL = there is no key. Replies WRONGTYPE, or that
    # the digest is malformed, which is noticed only when there is a value to compare with.
cdef int register_string_compare(engine_t* e) except -1
