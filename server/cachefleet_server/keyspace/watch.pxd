"""WATCH: which clients watch which keys. A change of a watched key makes EXEC fail.

    interest_t of a key: watchers --- list of watch_t (one per client and key)
    client.watches: list of the same watch_t

A watch belongs to a database's id, not to its content: SWAPDB leaves it where it is and counts as a change of
the keys that exist on either side. A key that was already past its time when WATCH came counts as absent:
its deletion is no change.

Cost: watch O(min(keys of the client, watchers of the key)), for not watching twice; unwatch O(1) per key;
a change O(watchers of the key), and nothing while nobody watches.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t
from cachefleet_server.keyspace.interest cimport interest_t

cdef void watch_key(client_t* c, arg_t* key) noexcept nogil
cdef void unwatch_all(client_t* c) noexcept nogil
cdef bint watched_key_expired(client_t* c) noexcept nogil  # one of them is past its time although not deleted yet
cdef void watch_changed(interest_t* key, uint64_t hash) noexcept nogil
    # Marks watchers CLIENT_DIRTY_CAS and forgets their watches. The record may be gone afterwards.
cdef void watch_replace_db(db_t* db, db_t* replacement) noexcept nogil  # see interest_replace_db
cdef size_t watch_count(const client_t* c) noexcept nogil  # keys that c watches, O(n)
cdef size_t watch_memory(const client_t* c) noexcept nogil  # bytes, O(n)
cdef int watch_check(engine_t* e) noexcept nogil  # 0; 1 a list is wrong, 2, 3 the counts of clients and of keys
