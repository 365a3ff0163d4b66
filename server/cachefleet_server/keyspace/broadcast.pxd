"""BCAST of client-side caching: who is told of every key that begins in some way, whether he has read it or not.

    trackers_t.prefixes: prefix_t, in the order of their bytes --- trackers

What changed is noted, once for all prefixes, with who changed it (trackers_t.changed). At the end of the tick it is
sorted: then the keys of a prefix lie together, and their text is made once for all trackers but those of NOLOOP, who
are not told what they changed themselves.

Cost: a change O(prefixes); the end of a tick O(n log n) of the changes, and O(log n) a prefix.
"""

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.keyspace.tracking cimport tracker_t, trackers_t

cdef void broadcast_join(engine_t* e, tracker_t* t, const char* p, size_t n) noexcept nogil  # nothing if it is there
cdef void broadcast_leave(engine_t* e, tracker_t* t) noexcept nogil  # all prefixes of a tracker
cdef bint is_broadcast(const trackers_t* s, const char* key, size_t nk) noexcept nogil  # somebody is to be told
cdef void broadcast_changes(engine_t* e) noexcept nogil  # what was noted
