"""What commands that take elements out of lists and sorted sets share: time-outs, several keys, and what is journalled.

What has waited is journalled as the command that would have done the same without waiting. A time-out is a number of
seconds with a fraction; 0 is for ever. Where nobody may wait, the reply is that there is nothing.

BLPOP and BZPOPMIN, LMPOP and ZMPOP, BLMPOP and BZMPOP are the same three commands over two kinds of values: a kind is a
`popped_t`, a constant of its type.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.core.entry cimport entry_t

cdef extern from *:
    """
    #define ERR_MUST_BE_POSITIVE "ERR value is out of range, must be positive"
    """
    const char* ERR_MUST_BE_POSITIVE

cdef struct popped_t:  # what commands take from
    int type  # OBJ_*
    const char* front  # the words for its ends
    const char* back
    const char* front_command  # what takes from there, in the journal
    const char* back_command
    int one_parts  # of the reply of BLPOP and the like, the key's name included
    size_t (*len_fn)(const entry_t* entry) noexcept nogil
    # Reply elements, which are there, and remove them: one behind the key's name, or so many as an array.
    void (*one_fn)(client_t* c, arg_t* key, entry_t* entry, bint front) noexcept nogil
    void (*several_fn)(client_t* c, arg_t* key, entry_t* entry, bint front, size_t count) noexcept nogil

cdef bint timeout_or_reply(client_t* c, const arg_t* a, int64_t* until_ms) noexcept nogil
    # Unix time in ms; 0: for ever.
cdef void blocking_pop(client_t* c, const popped_t* p, bint front) noexcept nogil  # key ... timeout
cdef void multi_pop(client_t* c, const popped_t* p) noexcept nogil  # numkeys key ... front|back [COUNT n]
cdef void blocking_multi_pop(client_t* c, const popped_t* p) noexcept nogil  # timeout, and the same
cdef void nothing_came(client_t* c, bint timed_out) noexcept nogil  # for wait_for_keys
