"""Options of commands: one parser for all, driven by the rows' syntax texts.

When a row is registered, the optional arguments of its syntax text become a table: each token with the number of values
behind it. A command walks over what its client gave:

    cdef option_walk_t w
    options_begin(&w, c, 3)                     # from argv[3] on
    while options_next(&w):
        if w.option == OPT_NX: ...
        elif w.option == OPT_LIMIT: ... w.value[0], w.value[1]
    if w.failed: reply_syntax_error(c)          # no word of this row's, or its values are missing

What may be repeated or combined is the command's business, and so is when it looks at a value: that is how Valkey's
order of errors is kept. A word that no command had before is one line below and one in options.pyx.

Cost: a word is read as two numbers, which lead to the one slot of the row's table that may hold it.
"""

from cachefleet_server.core.engine cimport arg_t, client_t, command_t, option_t
from cachefleet_server.core.reply cimport reply_syntax_error
from cachefleet_server.ds.intrin cimport cf_unlikely

cdef enum:
    OPTION_SLOTS = 64

cdef enum:
    OPT_NONE
    OPT_ABSTTL
    OPT_ALPHA
    OPT_ASC
    OPT_ASYNC
    OPT_BLOCK
    OPT_BY
    OPT_BYFLOAT
    OPT_BYINT
    OPT_CH
    OPT_COUNT
    OPT_DB
    OPT_DESC
    OPT_ENTRIESADDED
    OPT_ENTRIESREAD
    OPT_ENX
    OPT_EX
    OPT_EXAT
    OPT_FNX
    OPT_FORCE
    OPT_FREQ
    OPT_FULL
    OPT_FXX
    OPT_GET
    OPT_GT
    OPT_IDLE
    OPT_IDLETIME
    OPT_IDX
    OPT_IFDEQ
    OPT_IFDNE
    OPT_IFEQ
    OPT_IFNE
    OPT_INCR
    OPT_JUSTID
    OPT_KEEPTTL
    OPT_LASTID
    OPT_LBOUND
    OPT_LEN
    OPT_LIMIT
    OPT_LT
    OPT_MATCH
    OPT_MAXDELETEDID
    OPT_MAXLEN
    OPT_MINMATCHLEN
    OPT_MKSTREAM
    OPT_NOACK
    OPT_NOSCORES
    OPT_NOVALUES
    OPT_NX
    OPT_PERSIST
    OPT_PX
    OPT_PXAT
    OPT_RANK
    OPT_REPLACE
    OPT_RETRYCOUNT
    OPT_SATURATE
    OPT_STORE
    OPT_SYNC
    OPT_TIME
    OPT_TYPE
    OPT_UBOUND
    OPT_WITHMATCHLEN
    OPT_XX

cdef struct option_walk_t:
    client_t* client
    int at  # the next argument
    int option  # OPT_*
    const arg_t* word  # as the client wrote it; also the one that failed
    const arg_t* value  # what is behind it
    bint failed

cdef inline void options_begin(option_walk_t* w, client_t* c, int first) noexcept nogil:
    w.client = c
    w.at = first
    w.failed = False

cdef bint options_next(option_walk_t* w) noexcept nogil  # false at the end, and with `failed`, which users may set, too

cdef inline bint options_end(option_walk_t* w) noexcept nogil:
    """False after replying that the syntax is wrong."""
    if cf_unlikely(w.failed):
        reply_syntax_error(w.client)
        return False
    return True

cdef int options_compile(command_t* row, str syntax) except -1
