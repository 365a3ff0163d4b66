"""Who is interested in which keys: one record a key, as long as somebody is.

    db.interest: hash table of interest_t --- watchers: WATCH (keyspace/watch)
                                         '--- waiters: clients that wait, in their order (keyspace/waiting)

A record belongs to a database's id and a key's name, not to a content: SWAPDB and FLUSHALL leave it where it is and
say what changed. Trackers of client-side caching go by names alone, and have a table of their own (keyspace/tracking);
they are told here, too.

Whoever changes a key says so by signal_modified (keyspace/db), which costs a look at one counter without a record.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport client_t, db_t, engine_t
from cachefleet_server.ds.bucket cimport ht_each_fn
from cachefleet_server.ds.link cimport link_t, links_t

cdef struct interest_t:
    link_t ready_link  # keyspace.ready: it changed, and its waiters are to be looked at
    bint ready
    db_t* db
    links_t watchers  # watch_t
    links_t waiters  # waiter_t
    size_t waiting  # how many these are ...
    size_t waiting_on_nokey  # ... those of them who also want to know when it is gone ...
    size_t waiting_on_time  # ... and those for whom time is enough
    bint pinned  # its waiters are being served: it stays, whoever leaves
    size_t nk
    char key[0]

cdef interest_t* interest_of(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil  # made on demand
cdef void interest_release(interest_t* key) noexcept nogil  # somebody left: the last one takes the record along
cdef void interest_changed(db_t* db, const client_t* c, const char* key, size_t nk, uint64_t hash) noexcept nogil
    # A key was made, changed or deleted, by c or, NULL, the server itself. Callers use signal_modified of keyspace/db.
cdef void interest_replace_db(db_t* db, db_t* replacement) noexcept nogil
    # Before the content of a database is replaced by that of another one (NULL: by nothing): keys that exist in
    # either count as changed.
cdef void interest_each(db_t* db, ht_each_fn fn, void* ctx) noexcept nogil  # `fn` must not release records
cdef void interest_db_free(db_t* db) noexcept nogil  # with the database; nobody is interested any more
cdef int interest_check(engine_t* e) noexcept nogil
    # 0; 1 a record without interest, or wrong in itself; 2 their number; 10 + n: watchers; 20 + n: waiters
