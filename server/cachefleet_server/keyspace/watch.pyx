"""Watched keys: both directions of the relation between clients and keys.

A watch_t is on its key's list (doubly linked, so a client can leave in O(1)) and on its client's list (singly linked,
only ever dropped as a whole).
"""

from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.engine cimport CLIENT_DIRTY_CAS
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.hashtable cimport ht_hash
from cachefleet_server.ds.link cimport link_prepend, link_remove, link_t, links_are_right
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc, zrealloc
from cachefleet_server.keyspace.db cimport arg_hash, db_find
from cachefleet_server.keyspace.expire cimport is_expired
from cachefleet_server.keyspace.interest cimport interest_each, interest_of, interest_release

cdef struct watch_t:
    link_t link  # interest_t.watchers
    client_t* client
    interest_t* key
    watch_t* next_of_client
    bint expired  # the key was past its time when WATCH came


cdef inline bint _is_expired(const client_t* c, db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    """Past its time for this client, though still there."""
    cdef entry_t* entry = db_find(db, key, nk, hash)
    return entry != NULL and is_expired(c, entry)


cdef bint _watches_already(client_t* c, interest_t* key) noexcept nogil:
    """Walks the client's list and the key's list side by side: whichever ends first has the answer."""
    cdef watch_t* mine = <watch_t*>c.watches
    cdef watch_t* others = <watch_t*>key.watchers.first
    while mine != NULL and others != NULL:
        if mine.key == key or others.client == c:
            return True
        mine = mine.next_of_client
        others = <watch_t*>others.link.next
    return False


cdef void watch_key(client_t* c, arg_t* key) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef uint64_t hash = arg_hash(e, key)
    cdef interest_t* interest = interest_of(c.db, key.ptr, key.len, hash)
    cdef watch_t* watch
    if _watches_already(c, interest):
        return
    watch = <watch_t*>zmalloc(e.heap, sizeof(watch_t))
    watch.client = c
    watch.key = interest
    watch.expired = _is_expired(c, c.db, key.ptr, key.len, hash)
    link_prepend(&interest.watchers, &watch.link)
    if c.watches == NULL:
        e.keyspace.watching += 1
    e.keyspace.watched_keys += 1
    watch.next_of_client = <watch_t*>c.watches
    c.watches = watch


cdef void _leave(engine_t* e, watch_t* watch) noexcept nogil:
    """Takes the watch off its key's list."""
    cdef interest_t* key = watch.key
    link_remove(&key.watchers, &watch.link)
    zfree(e.heap, watch)
    e.keyspace.watched_keys -= 1
    interest_release(key)


cdef void unwatch_all(client_t* c) noexcept nogil:
    cdef watch_t* watch = <watch_t*>c.watches
    cdef watch_t* following
    if watch == NULL:
        return
    c.watches = NULL
    c.engine.keyspace.watching -= 1
    while watch != NULL:
        following = watch.next_of_client
        _leave(c.engine, watch)
        watch = following


cdef bint watched_key_expired(client_t* c) noexcept nogil:
    cdef watch_t* watch = <watch_t*>c.watches
    cdef interest_t* key
    while watch != NULL:
        key = watch.key
        if not watch.expired and _is_expired(
            c, key.db, &key.key[0], key.nk, ht_hash(key.db.keys, &key.key[0], key.nk)
        ):
            return True
        watch = watch.next_of_client
    return False


cdef inline void _fail_exec(client_t* c) noexcept nogil:
    """EXEC will fail whatever happens now, so the client's watches have done their work."""
    c.flags |= CLIENT_DIRTY_CAS
    unwatch_all(c)


cdef void watch_changed(interest_t* key, uint64_t hash) noexcept nogil:
    """The record is gone with its last watch, so `following` is read before _fail_exec. A client is on it once."""
    cdef watch_t* watch = <watch_t*>key.watchers.first
    cdef watch_t* following
    while watch != NULL:
        following = <watch_t*>watch.link.next
        if not watch.expired:
            _fail_exec(watch.client)
        elif db_find(key.db, &key.key[0], key.nk, hash) == NULL:
            watch.expired = False  # the expired key was deleted: absent before, absent now
        else:
            _fail_exec(watch.client)
        watch = following


# ---- whole databases -----------------------------------------------------------------------------------------

cdef struct _dirty_t:  # what a flush or swap of one database does to the watched keys
    db_t* emptied
    db_t* replacement  # NULL: a flush
    client_t** clients  # to mark once the scan is over: marking frees records of the table under scan
    size_t count
    size_t cap


cdef void _collect(_dirty_t* d, client_t* c) noexcept nogil:
    cdef engine_t* e = d.emptied.engine
    if d.count == d.cap:
        d.cap = max(<size_t>16, 2 * d.cap)
        d.clients = <client_t**>zrealloc(e.heap, d.clients, d.cap * sizeof(client_t*))
    d.clients[d.count] = c
    d.count += 1


cdef void _judge(void* ctx, void* element) noexcept nogil:
    """Which watchers of one key see a change when its database's content is replaced."""
    cdef _dirty_t* d = <_dirty_t*>ctx
    cdef interest_t* key = <interest_t*>element
    cdef uint64_t hash = ht_hash(d.emptied.keys, &key.key[0], key.nk)
    cdef bint was = db_find(d.emptied, &key.key[0], key.nk, hash) != NULL
    cdef bint comes = d.replacement != NULL and db_find(d.replacement, &key.key[0], key.nk, hash) != NULL
    cdef bint comes_expired
    cdef watch_t* watch = <watch_t*>key.watchers.first
    if not was and not comes:
        return
    while watch != NULL:
        comes_expired = comes and _is_expired(watch.client, d.replacement, &key.key[0], key.nk, hash)
        if watch.expired and not comes:
            watch.expired = False  # an expired key was deleted: no change
        elif watch.expired and comes_expired:
            pass  # it stays expired
        elif not watch.expired and not was and comes_expired:
            watch.expired = True  # nothing became an expired key
        else:
            _collect(d, watch.client)
        watch = <watch_t*>watch.link.next


cdef void watch_replace_db(db_t* db, db_t* replacement) noexcept nogil:
    cdef _dirty_t d
    cdef size_t i
    if db.engine.keyspace.watching == 0:
        return
    d.emptied = db
    d.replacement = replacement
    d.clients = NULL
    d.count = 0
    d.cap = 0
    interest_each(db, _judge, &d)
    for i in range(d.count):
        _fail_exec(d.clients[i])
    zfree(db.engine.heap, d.clients)


# ---- reading and end -----------------------------------------------------------------------------------------

cdef size_t watch_count(const client_t* c) noexcept nogil:
    cdef size_t n = 0
    cdef watch_t* watch = <watch_t*>c.watches
    while watch != NULL:
        n += 1
        watch = watch.next_of_client
    return n


cdef size_t watch_memory(const client_t* c) noexcept nogil:
    cdef size_t n = 0
    cdef watch_t* watch = <watch_t*>c.watches
    while watch != NULL:
        n += sizeof(watch_t) + sizeof(interest_t) + watch.key.nk
        watch = watch.next_of_client
    return n


cdef struct _watchers_t:
    size_t watches
    bint wrong


cdef void _check_watched(void* ctx, void* element) noexcept nogil:
    cdef _watchers_t* w = <_watchers_t*>ctx
    cdef interest_t* key = <interest_t*>element
    cdef watch_t* watch = <watch_t*>key.watchers.first
    w.wrong |= not links_are_right(&key.watchers)
    while watch != NULL:
        w.wrong |= watch.key != key or watch.client.watches == NULL
        w.watches += 1
        watch = <watch_t*>watch.link.next


cdef int watch_check(engine_t* e) noexcept nogil:
    cdef _watchers_t w
    cdef client_t* c = client_first(e)
    cdef size_t clients = 0
    cdef int i
    w.watches = 0
    w.wrong = False
    for i in range(e.keyspace.opened):
        interest_each(e.keyspace.dbs[i], _check_watched, &w)
    while c != NULL:
        clients += c.watches != NULL
        c = client_next(c)
    if w.wrong:
        return 1
    if clients > e.keyspace.watching:  # clients without a connection may watch, too
        return 2
    return 3 if w.watches != e.keyspace.watched_keys else 0
