"""Who listens to what, and how a message reaches those who do: channels, patterns and shard channels.

    channels_t: names[kind] --- channel_t of a name: listeners --- array of ends: client, place
                                                       |                          (each names the other's place)
    client.subscriptions: of[kind] ---------------- array of ends: channel_t, place

A *channel* here is whatever can be listened to, of a kind: LISTEN_CHANNEL, LISTEN_PATTERN, LISTEN_SHARD. It exists
while somebody listens. A subscription is two ends and nothing else, 12 bytes in each of two arrays: either finds the
other at once, and takes the last one's place when it goes. So subscribing and leaving are O(1), but for seeing that a
client listens already, which is a walk through the shorter array: O(min(channels of the client, listeners of the
channel)), of memory that lies together, and the second number is at most that of all connections.

*A message* is made once for all its receivers, as the text of a push: RESP2 and RESP3 differ in its first byte alone.
A short one is copied to each. A long one, from CHANNELS_SHARE_MIN on, is a blob (ds/blob.pxd) that all receivers own
together, of whatever protocol and pattern, behind a head of their own; nothing is copied where the request's memory
is a blob already. Their output limits count it as if it were copied.

*Patterns* stand in one array, with the last eight bytes of what each begins with literally: one comparison of a word
tells that a channel cannot match, so that of 10 000 patterns only those are tried that may.

Receivers are clients of class pubsub while they listen to anything; see core/push for what a push obeys, above all
that one who publishes to itself reads its reply first. Messages are not journalled.

Cost: publishing O(receivers + patterns). Memory of a channel: 24 bytes, its name and its share of a table.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.bucket cimport ht_each_fn

cdef enum:
    LISTEN_CHANNEL = 0
    LISTEN_PATTERN = 1
    LISTEN_SHARD = 2
    LISTEN_KINDS = 3

    CHANNELS_SHARE_MIN = 4096  # bytes of a message that all receivers own together

cdef packed struct end_t:  # of a subscription: 12 bytes, not 16
    void* other  # channel_t in a client's array, client_t in a channel's
    uint32_t place  # of the other end, in its array

cdef struct ends_t:
    end_t* at
    uint32_t count
    uint32_t cap

cdef struct channel_t:
    ends_t listeners
    uint32_t nk
    uint32_t row  # of a pattern: its place among the patterns
    char name[0]

cdef struct channel_totals_t:  # since the start
    uint64_t deliveries  # messages times their receivers
    uint64_t lost  # of these, what was for clients that were to be closed

cdef struct subscriptions_t:  # of a client
    ends_t of[3]  # LISTEN_KINDS

cdef void channels_open(engine_t* e) noexcept nogil  # with the engine ...
cdef void channels_close(engine_t* e) noexcept nogil  # ... when no client is left

# Of a client that has a connection.
cdef bint channel_join(client_t* c, int kind, const char* name, size_t n) noexcept nogil
    # False: it listened already.
cdef bint channel_leave(client_t* c, int kind, const char* name, size_t n) noexcept nogil  # False: it did not listen
cdef void channels_leave_all(client_t* c) noexcept nogil  # of all kinds; O(1) for who listens to nothing
cdef size_t subscriptions_memory(const client_t* c) noexcept nogil

cdef inline uint32_t subscriptions(const client_t* c, int kind) noexcept nogil:
    """How many of a kind."""
    return (<const subscriptions_t*>c.subscriptions).of[kind].count if c.subscriptions != NULL else 0

cdef inline channel_t* subscription(const client_t* c, int kind, uint32_t i) noexcept nogil:
    """One of them, in no order; leaving moves others."""
    return <channel_t*>(<const subscriptions_t*>c.subscriptions).of[kind].at[i].other

cdef int64_t channel_publish(
    engine_t* e, int kind, const char* name, size_t nk, const char* message, size_t nm, blob_t* blob) noexcept nogil
    # To LISTEN_CHANNEL, and patterns that match, or to LISTEN_SHARD; how many got it, a client once for each. `blob`:
    # holds exactly the message, or NULL; its receivers become owners.
cdef size_t channels_count(const engine_t* e, int kind) noexcept nogil
cdef uint32_t channel_listeners(const engine_t* e, int kind, const char* name, size_t n) noexcept nogil
cdef void channels_each(engine_t* e, int kind, ht_each_fn fn, void* ctx) noexcept nogil
    # Calls with channel_t; `fn` changes nothing.
cdef channel_totals_t channels_totals(const engine_t* e) noexcept nogil
cdef size_t channels_memory(const engine_t* e) noexcept nogil  # tables and patterns' array, without the channels
cdef int channels_check(engine_t* e) noexcept nogil
    # 0; 1 ends that do not find each other, 2 a channel without listeners, 3 a class, 4 the patterns
