"""Client-side caching: which clients have read which keys, and telling them when those change.

    trackers_t: keys ------ table of tracked_t: a key's name --- trackers that have read it, by address
                prefixes -- prefix_t: trackers that are told of every key that begins so (keyspace/broadcast)
                on -------- list of tracker_t: clients that track now

A *tracker* is a client's side of it: its modes, and where its messages go. It belongs to its client, and stays, without
one, for as long as a key points to it; so a client that goes away costs nothing but itself.

- *What is remembered.* The keys of each reading command of a client that tracks (`tracking_read`), whether they exist
  or not, as its mode says: all; OPTIN: those of the request behind CLIENT CACHING YES; OPTOUT: all but those behind
  CACHING NO. Names count, whatever the database. BCAST remembers nothing.
- *What is told.* A change of the key (keyspace/db: signal_modified), whoever makes it: commands, expiry, eviction. The
  key is forgotten with it, and is told again only when it has been read again. A flush, of one database too, or a load
  tells all trackers once. SWAPDB tells nothing, as in Valkey. NOLOOP: not what the client does itself.
- *When.* At once; but to the client whose command runs behind its reply, and behind the messages that the command
  sent it (core/push). BCAST: once a tick, all keys that changed in it, sorted, each once.
- *How.* RESP3: a push "invalidate". REDIRECT: to another client, also in RESP2, if that listens to channels: as a
  message of the channel `__redis__:invalidate`. When that client is gone, a push "tracking-redir-broken".
- *How many.* Beyond `tracking-table-max-keys` keys go, at random, as if they had changed: some at the end of each tick.

Cost while nobody has ever tracked: one look at engine.trackers a command. Reading: a hash lookup and a binary search a
key. A key takes 24 bytes, its name, its share of a table and 8 bytes a tracker.
"""

from libc.stdint cimport uint32_t, uint64_t

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.hashtable cimport hashtable_t
from cachefleet_server.ds.link cimport link_t, links_t

cdef enum:  # tracker_t.modes
    TRACK_ON = 1 << 0
    TRACK_BCAST = 1 << 1
    TRACK_OPTIN = 1 << 2
    TRACK_OPTOUT = 1 << 3
    TRACK_NOLOOP = 1 << 4
    TRACK_CACHING = 1 << 5  # CLIENT CACHING was said: it counts for the next request
    TRACK_BROKEN = 1 << 6  # there was something to tell, and the client to tell it is gone

cdef struct prefix_t

cdef struct tracker_t:
    link_t link  # trackers_t.on, while TRACK_ON
    client_t* client  # NULL: gone
    client_t* target  # with `redirect`: to whom; NULL: gone
    uint64_t redirect  # id of that client; 0: it is told itself
    uint32_t modes
    uint32_t refs  # keys that point to it, and its client
    prefix_t** prefixes  # with TRACK_BCAST
    uint32_t prefix_count

cdef struct prefix_t:  # of BCAST (keyspace/broadcast.pxd)
    tracker_t** who
    uint32_t count
    uint32_t cap
    uint32_t n
    char text[0]

cdef enum:
    ALL_KEYS = -1

cdef struct change_t:  # in front of a key's bytes, in a buffer
    tracker_t* by  # trackers_t.changed: who made it, or NULL; trackers_t.own: whom to tell
    size_t n  # ALL_KEYS: no key, all are gone

cdef struct trackers_t:
    links_t on  # tracker_t
    size_t count  # of these
    hashtable_t keys  # tracked_t
    size_t items
    prefix_t** prefixes  # in their order, by bytes
    uint32_t prefix_count
    uint32_t prefix_cap
    buf_t changed  # change_t: what BCAST tells at the end of the tick
    buf_t own  # change_t: what is told when the command has ended
    buf_t keys_text
    buf_t frame
    uint32_t patience  # ticks in which the limit was not reached

cdef struct tracking_totals_t:
    size_t clients
    size_t keys
    size_t items  # pairs of a key and a tracker
    size_t prefixes

# A client's modes. Their rules are those of CLIENT TRACKING (admin/tracking.py).
cdef void tracking_on(client_t* c, client_t* target, uint32_t modes) noexcept nogil
    # target: NULL without REDIRECT. Anew, or with other modes; prefixes are kept (broadcast_join adds some).
cdef void tracking_off(client_t* c) noexcept nogil
cdef void tracking_forget(client_t* c) noexcept nogil  # the client goes away: as a tracker, and as a target

cdef inline tracker_t* tracker(const client_t* c) noexcept nogil:
    """NULL: it does not track now."""
    cdef tracker_t* t = <tracker_t*>c.tracker
    return t if t != NULL and t.modes & TRACK_ON else NULL

cdef inline bint tracks_bcast(const tracker_t* t) noexcept nogil:
    return t.modes & TRACK_BCAST != 0

cdef inline size_t change_size(const change_t* change) noexcept nogil:
    return sizeof(change_t) + (0 if change.n == <size_t>ALL_KEYS else (change.n + 7) & ~<size_t>7)

cdef void tracking_tell(tracker_t* t, const char* keys, size_t n) noexcept nogil
    # `keys`: RESP of an array of keys, or null. Goes where the tracker's messages go.

# From the dispatcher and the tick, only if engine.trackers is there.
cdef void tracking_read(client_t* c) noexcept nogil  # a reading command has run: its keys are remembered
cdef void tracking_request_over(client_t* c) noexcept nogil  # CLIENT CACHING counts no longer
cdef void tracking_command_ended(engine_t* e) noexcept nogil  # what was to be told to the client that ran it
cdef void tracking_tick(engine_t* e) noexcept nogil  # BCAST's messages; the limit

# From the keyspace.
cdef void tracking_changed(engine_t* e, const client_t* c, const char* key, size_t nk, uint64_t hash) noexcept nogil
    # c: who changed it, or NULL.
cdef void tracking_flushed(engine_t* e) noexcept nogil

cdef void tracking_close(engine_t* e) noexcept nogil  # with the engine, when no client is left
cdef tracking_totals_t tracking_totals(const engine_t* e) noexcept nogil
cdef int tracking_check(engine_t* e) noexcept nogil
    # 0; 1 a key without trackers, or not in order, 2 the number of items, 3 references, 4 clients, 5 prefixes
