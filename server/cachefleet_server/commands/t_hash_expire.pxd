"""Fields that expire: HEXPIRE and its family; what HGETEX and the like have in common with it."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.number cimport INT64_CHARS_MAX

cdef extern from *:
    """
    #define ERR_NUMFIELDS "ERR numfields should be greater than 0 and match the provided number of fields"
    """
    const char* ERR_NUMFIELDS

cdef enum:
    TELL_HEAD_MAX = 5  # words in front of the names

cdef struct tell_t:  # names of fields that something happened to, for the journal
    client_t* client
    int count
    buf_t names  # arg_t

cdef inline void tell_init(tell_t* t, client_t* c) noexcept nogil:
    t.client = c
    t.count = 0
    buf_init(&t.names, c.engine.heap)

cdef inline void tell_add(tell_t* t, const arg_t* name) noexcept nogil:
    buf_put(&t.names, name, sizeof(arg_t))
    t.count += 1

cdef inline void tell_free(tell_t* t) noexcept nogil:
    buf_free(&t.names)

cdef void tell_removed(tell_t* t) noexcept nogil  # HDEL key name ... instead of the running command
cdef void tell_fields(tell_t* t, const char* command, bint timed, int64_t when) noexcept nogil
    # COMMAND key [when] FIELDS n name ... instead of the running command

cdef int fields_clause(const client_t* c, int first) noexcept nogil
    # Where FIELDS stands from argv[first] on, with an argument behind it; 0: nowhere.
cdef bint fields_or_reply(client_t* c, int at, int words, const char* text) noexcept nogil
    # Is the number behind FIELDS, which is at argv[at], that of the fields, of so many words each? False after replying
    # that it is not.
cdef int register_hash_expire(engine_t* e) except -1
