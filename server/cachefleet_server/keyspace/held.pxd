"""Held output: what a client is to read may have to wait until what it wrote is safe.

A *condition* says up to which offset of the journal (keyspace/journal.pxd) something is true of it: it is on the disk,
on so many replicas, or a lease was valid. While any condition counts, a client that changed data gets nothing of what
it is replied from then on before all conditions confirm the offset at which that tick's journal ended. Without one no
command does more than look whether there is one.

    out_t of a client:   | replied before | reply to a write, and all behind it | to a later write, and behind |
                                          ^ mark: offset 100                    ^ mark: offset 170
    confirmed:  below 100: up to the first mark     100 to 169: up to the second      from 170 on: all

- *Order.* A client's output is one stream and nothing overtakes: replies to reads, pushes and MONITOR's lines that come
  behind a mark wait with it; what is in front of it may go. Clients that only read are not held, and may see what is
  not confirmed yet, as they may see what is not on a replica.
- *EXEC and scripts* are held as a whole: their mark is in front of the reply's first byte. QUEUED is not held.
- *No reply, no mark*: CLIENT REPLY OFF and SKIP produce nothing that could be held, so nothing befalls such a client.
- *Limits.* Held bytes count like other output, towards the output limits and the client's memory. A client that waits
  for us is not idle: `timeout` does not close it.
- *The end of a client.* Who is killed, or goes, takes what was held along; nothing of it is sent. Who is to be closed
  after its reply (QUIT) is closed when that has gone.
- *A condition that fails* (the disk did not take it) says so: all clients that wait are disconnected without what was
  held, since nobody can say what became of their writes. Where no condition is left, what was held goes.
- *Too long.* After `durability-timeout` a reply to a write becomes an error which says that its outcome is unknown; one
  a request, so that the client stays in step. All else that waits behind the mark is as it was, and goes.

With `appendfsync always` the AOF confirms inside the hand-over of the journal, before anything is written to a socket:
marks live for one tick, in `due`, and no client owns memory for them. Marks that survive their tick are the client's.
A mark stands for a run of replies to writes, one right behind the other: a pipeline of a thousand SETs has one a tick.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport CLIENT_HOLD_DUE, client_t, engine_t, held_condition_t

cdef struct due_t:  # a run of replies in this tick; of one client they come one behind the other
    client_t* client
    uint64_t at  # where the run begins in its output, counted from its first byte ever ...
    uint64_t end  # ... and where it ends
    uint64_t count  # replies

cdef struct held_total_t:
    size_t clients
    size_t replies  # to writes
    int64_t longest_ms

cdef inline void held_mark(client_t* c, size_t pending) noexcept nogil:
    """It changed data, and had this many bytes to be sent before it was replied. Only while there is a condition."""
    cdef due_t* last
    if c.fd < 0 or c.out.bytes <= pending:
        return
    if c.flags & CLIENT_HOLD_DUE:
        last = <due_t*>(c.engine.held.due.data + c.engine.held.due.len) - 1
        if last.client == c and last.end == c.net_out + pending:
            last.end = c.net_out + c.out.bytes
            last.count += 1
            return
    held_mark_due(c, pending)

cdef void held_mark_due(client_t* c, size_t pending) noexcept nogil
cdef void held_decide(engine_t* e) noexcept nogil  # the tick's journal was handed over: who wrote in it waits, or not
cdef void held_confirmed(engine_t* e) noexcept nogil  # a condition confirms more than before: lets go
cdef void held_failed(engine_t* e) noexcept nogil  # a condition failed: who waits is disconnected
cdef void held_withdraw(engine_t* e) noexcept nogil  # ... for this tick: who wrote in it is, who waits longer is not
cdef void held_timeouts(engine_t* e) noexcept nogil  # of who has waited too long; some times a second
cdef held_total_t held_total(const engine_t* e) noexcept nogil
cdef size_t held_memory(const client_t* c) noexcept nogil
cdef void held_add(engine_t* e, held_condition_t* condition) noexcept nogil  # counts from now on; `name` is set
cdef void held_remove(engine_t* e, held_condition_t* condition) noexcept nogil  # nothing, if it does not count
cdef size_t held_allowed(const client_t* c) noexcept nogil  # bytes of its output that may be sent
cdef void held_forget(client_t* c) noexcept nogil  # the client goes away
