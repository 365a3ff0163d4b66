"""Following a primary: what its stream does here, and what a replica's own clients may do meanwhile.

`engine.following` is set from the moment a server becomes a replica until it ceases to be one, however its connection
does; NULL means that it is a primary. Who decides about connections and data is replication/replica.py.

    primary --socket--> link --executed--> journal, byte for byte --> AOF, replicas of our own
              <--ACK---

- *The link* is a client of the reactor: parsed, prefetched and executed in batches with all others. It has a class and
  a protocol of its own, where everything but a whole request in RESP is an error, and its role asks nobody.
- *Offsets are the primary's.* The journal is muted, so nothing of our own gets into it: only what the link has executed
  does, whole commands and whole transactions, as they came. So its end is where the stream goes on after a cut, and
  what the primary is told. Of a transaction, what has come is kept here until its EXEC; it goes with the link.
- *A command that fails* says that the data differ from the primary's, and one that is no part of a stream, that it is
  no primary. It is not journalled; the link ends, with the reason, and whoever hears of it begins anew. Redis and
  Valkey go on, and differ in silence.
- *A managed replica* (managed/machine.py) confirms only what it may, and when: at a beat of its primary, a PING with a
  word, of which its owner is told; and, if that says so, at the end of each tick that has brought something: the
  primary's clients wait for it. Nothing else makes it confirm, GETACK neither.
- *Other clients* are given their roles' other rows at once (core/role.pxd): keys whose time is over are hidden, but it
  is the primary that deletes them; neither expiry nor eviction runs; writes are refused, unless the replica is to be
  writable, and all that is not CMD_STALE while the data may be old and must not be served. What a writable replica's
  clients write is in no journal.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport client_t, engine_t, protocol_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.resp.input cimport request_t

cdef enum:
    FAILURE_MAX = 512  # bytes

cdef struct following_t:  # it lies in its owner
    engine_t* engine
    client_t* link  # NULL: the connection is down
    uint64_t begun  # offset of its first byte
    bint read_only  # replica-read-only
    bint serve_stale  # replica-serve-stale-data
    bint managed  # only following_confirm confirms anything
    bint promptly  # ... and each tick confirms what it has brought ...
    bint from_file  # ... as far as a file has it
    uint64_t confirmed  # offset; what the primary was told last on this link
    int64_t confirmed_ms  # monotonic time of that, on any link; 0: never, or it has been asked for
    buf_t kept  # a transaction without its end, or one request while it is executed
    size_t pending  # bytes of the link's output before the command that runs
    char failure[512]  # FAILURE_MAX; why the link ends; "" = it was cut
    void* owner
    void (*lost_fn)(engine_t* e) noexcept nogil  # the link is about to be freed
    void (*beat_fn)(engine_t* e, const char* word, size_t n) noexcept nogil  # a PING with a word was executed

cdef inline following_t* following(const engine_t* e) noexcept nogil:
    return <following_t*>e.following

cdef void following_begin(engine_t* e, following_t* f) noexcept nogil
    # The server is a replica: of nobody yet. Clients that wait for keys or replicas are told, and closed.
cdef void following_end(engine_t* e) noexcept nogil  # ... and a primary again. The link must be gone.
cdef const protocol_t* link_protocol() noexcept nogil
cdef void following_goes_on(engine_t* e, client_t* link) noexcept nogil  # a new link, in the journal's database
cdef void following_before(client_t* link, const request_t* r) noexcept nogil  # a request of the link is executed ...
cdef void following_after(client_t* link, const request_t* r) noexcept nogil  # ... and was
cdef void following_lost(client_t* c) noexcept nogil  # a client goes away, perhaps the link
cdef void following_acknowledge(engine_t* e) noexcept nogil  # tells the primary how far we are, unless managed
cdef void following_confirm(engine_t* e, uint64_t offset) noexcept nogil  # tells the primary that we are so far
cdef uint64_t following_read(const engine_t* e) noexcept nogil  # offset behind all that has come

cdef void following_confirm_tick(engine_t* e) noexcept nogil

cdef inline void following_tick(engine_t* e) noexcept nogil:
    """The end of a tick: what it has brought was handed over to the files."""
    if following(e).promptly:
        following_confirm_tick(e)

cdef inline bint following_is_stale(const engine_t* e) noexcept nogil:
    """What is not CMD_STALE is refused."""
    return following(e).link == NULL and not following(e).serve_stale
