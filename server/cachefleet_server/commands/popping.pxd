"""What commands that take elements out of lists and sorted sets share: time-outs, several keys, and what is journalled.

What has waited is journalled as the command that would have done the same without waiting. A time-out is a number of
seconds with a fraction; 0 is for ever. Where nobody may wait, the reply is that there is nothing.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.core.entry cimport entry_t

cdef extern from *:
    """
    #define ERR_MUST_BE_POSITIVE "ERR value is out of range, must be positive"
    """
    const char* ERR_MUST_BE_POSITIVE

cdef struct multi_pop_t:  # the words of LMPOP and the like
    arg_t* keys
    int count  # of keys
    bint front  # the first of the two words that say where
    int64_t most  # elements

cdef bint timeout_or_reply(client_t* c, const arg_t* a, int64_t* until_ms) noexcept nogil
    # Unix time in ms; 0: for ever.
cdef bint multi_pop_words(
    client_t* c, int first, const char* front, const char* back, multi_pop_t* m) noexcept nogil
    # numkeys key ... front|back [COUNT n], from argv[first] on. False after a reply.
cdef bint first_of_type(
    client_t* c, arg_t* keys, int count, int type, arg_t** key, entry_t** entry) noexcept nogil
    # The first key that exists, or NULL. False: it has another type, which has been replied.
cdef void journal_pop(client_t* c, const char* name, const arg_t* key, size_t count) noexcept nogil
    # Instead of the running command; with a count unless that is 0.
cdef void nothing_came(client_t* c, bint timed_out) noexcept nogil  # for wait_for_keys
