"""Pushes: what is written to a client and is not the reply to its command. Messages, key events, invalidations.

    out = push_begin(target, 3)
    if out != NULL:  # else it gets nothing more
        out_bulk(out, ...)  # three elements, in the target's protocol (target.resp)
        push_end(target)

- RESP3 begins one with `>`, RESP2 with `*`. CLIENT REPLY OFF and SKIP concern replies alone.
- *Place.* A push never lands inside a reply. While the target's command runs, EXEC and all that it calls included, its
  pushes wait in an output of their own and follow when the outermost command has ended, in their order. So a client
  that publishes to itself reads its reply first. Who merely waits (blocked, paused) gets them at once.
- *Order.* They are part of the one stream of the client's output: nothing overtakes, and what lies behind held output
  (keyspace/held) waits with it.
- *Limits.* They count towards the output limits at once, and who is too slow is disconnected.
- A client that is to close, or has no connection, gets none.

A command whose reply is itself a push (SUBSCRIBE) says so by push_reply_begin: it is written in place, as one element
of EXEC's reply, and also to who wants no replies. MONITOR's lines are no pushes in Valkey: they are written in place
and obey CLIENT REPLY (Engine.feed_monitors).
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.resp.writer cimport out_t

cdef out_t* push_begin(client_t* target, int64_t n) noexcept nogil
cdef out_t* push_room(client_t* target) noexcept nogil  # the same, for a push that its caller writes whole
cdef void push_end(client_t* target) noexcept nogil
cdef out_t* push_reply_begin(client_t* c, int64_t n) noexcept nogil  # of the running command; NULL: nothing is sent
cdef void pushes_append(engine_t* e) noexcept nogil  # no command runs any more: what waited follows the replies
cdef void pushes_forget(client_t* c) noexcept nogil  # the client goes away
cdef size_t pushes_memory(const client_t* c) noexcept nogil
