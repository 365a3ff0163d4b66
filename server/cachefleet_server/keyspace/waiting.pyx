"""Queues of waiting clients, and how they are served; see waiting.pxd."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.engine cimport (
    BLOCKED_KEYS, CLIENT_BLOCKED, CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP, CLIENT_DENY_BLOCKING, DUE_WAITERS,
    keyspace_t)
from cachefleet_server.core.entry cimport OBJ_STREAM, entry_payload, entry_t, entry_type
from cachefleet_server.core.request cimport request_keep
from cachefleet_server.ds.hashtable cimport ht_hash
from cachefleet_server.ds.link cimport link_append, link_remove, link_t, links_are_right
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.keyspace.blocked cimport block_client, block_until, blocked_deadline_counts, unblock_client
from cachefleet_server.keyspace.db cimport arg_hash, db_find
from cachefleet_server.keyspace.expire cimport is_expired
from cachefleet_server.keyspace.interest cimport interest_each, interest_of, interest_release

cdef enum:
    _NO_KEY = -1  # instead of a type

cdef struct waiter_t:  # a client's place in the queue of one key
    link_t link  # interest_t.waiters
    wait_t* wait
    interest_t* key
    const void* had  # the stream there, when its client last looked; NULL: none

cdef struct wait_t:
    client_t* client
    kept_request_t* request
    int type  # OBJ_*
    int flags  # WAIT_*
    int64_t until_ms  # the end of the wait, which the client's deadline may come before; 0: none
    bint held  # it was to be served, and a pause holds it back
    bint sees_new  # while it is served: see waiting_sees_new
    int count
    waiter_t places[0]


cdef inline wait_t* _wait(const client_t* c) noexcept nogil:
    return <wait_t*>c.waiter if c.blocked == BLOCKED_KEYS else NULL

# ---- queues ------------------------------------------------------------------------------------------------

cdef inline const void* _stream(const entry_t* entry) noexcept nogil:
    """Which stream this is. Values of other types are never there while somebody waits for them."""
    return <const void*>entry_payload(entry)[0] if entry != NULL and entry_type(entry) == OBJ_STREAM else NULL


cdef const void* _stream_at(const interest_t* key) noexcept nogil:
    return _stream(db_find(key.db, &key.key[0], key.nk, ht_hash(key.db.keys, &key.key[0], key.nk)))


cdef void _look_at_streams(wait_t* wait) noexcept nogil:
    cdef int i
    if wait.type == OBJ_STREAM:
        for i in range(wait.count):
            wait.places[i].had = _stream_at(wait.places[i].key)


cdef void _enqueue(wait_t* wait, db_t* db, arg_t* key) noexcept nogil:
    """At the end of the key's queue; a key that the request names twice counts once."""
    cdef keyspace_t* k = db.engine.keyspace
    cdef interest_t* interest = interest_of(db, key.ptr, key.len, arg_hash(db.engine, key))
    cdef waiter_t* place = &wait.places[wait.count]
    cdef waiter_t* last = <waiter_t*>interest.waiters.last
    if last != NULL and last.wait == wait:
        return
    wait.count += 1
    place.wait = wait
    place.key = interest
    place.had = NULL
    link_append(&interest.waiters, &place.link)
    k.blocking_keys += interest.waiting == 0
    interest.waiting += 1
    interest.waiting_on_time += wait.flags & WAIT_ON_TIME != 0
    if wait.flags & WAIT_ON_NOKEY:
        k.blocking_keys_on_nokey += interest.waiting_on_nokey == 0
        interest.waiting_on_nokey += 1


cdef void _dequeue(waiter_t* place) noexcept nogil:
    cdef interest_t* key = place.key
    cdef keyspace_t* k = key.db.engine.keyspace
    link_remove(&key.waiters, &place.link)
    key.waiting -= 1
    key.waiting_on_time -= place.wait.flags & WAIT_ON_TIME != 0
    if place.wait.flags & WAIT_ON_NOKEY:
        key.waiting_on_nokey -= 1
        k.blocking_keys_on_nokey -= key.waiting_on_nokey == 0
    if key.waiting == 0:
        k.blocking_keys -= 1
        waiting_forget_ready(key)
        interest_release(key)


cdef bint wait_for_keys(
    client_t* c, arg_t* keys, int count, int type, int flags, int64_t until_ms, unblock_reply_fn over
) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef wait_t* wait
    cdef int i
    if c.flags & CLIENT_DENY_BLOCKING:
        return False
    if e.clients.served == c:
        c.flags |= CLIENT_BLOCKED  # as before: its places, its request, its time-out
        _look_at_streams(_wait(c))
        return True
    wait = <wait_t*>zmalloc(e.heap, sizeof(wait_t) + count * sizeof(waiter_t))
    wait.client = c
    wait.request = request_keep(c)
    wait.type = type
    wait.flags = flags
    wait.until_ms = until_ms
    wait.held = wait.sees_new = False
    wait.count = 0
    for i in range(count):
        _enqueue(wait, c.db, &keys[i])
    _look_at_streams(wait)
    c.waiter = wait
    block_client(c, BLOCKED_KEYS, until_ms, over)
    return True


cdef bint waiting_sees_new(const client_t* c) noexcept nogil:
    return c.engine.clients.served != c or _wait(c).sees_new


cdef void waiting_look_at(client_t* c, int64_t ms) noexcept nogil:
    cdef wait_t* wait = _wait(c)
    block_until(c, min(ms, wait.until_ms) if wait.until_ms else ms)


cdef bint waiting_looks(client_t* c) noexcept nogil:
    cdef wait_t* wait = _wait(c)
    cdef int i
    if wait == NULL or c.blocked_until_ms == wait.until_ms:
        return False
    block_until(c, wait.until_ms)
    for i in range(wait.count):
        waiting_changed(wait.places[i].key)
    return True


cdef void waiting_leave(client_t* c) noexcept nogil:
    cdef wait_t* wait = _wait(c)
    cdef int i
    for i in range(wait.count):
        _dequeue(&wait.places[i])
    zfree(c.engine.heap, wait.request)
    zfree(c.engine.heap, wait)
    c.waiter = NULL


cdef size_t waiting_memory(const client_t* c) noexcept nogil:
    cdef wait_t* wait = _wait(c)
    return sizeof(wait_t) + wait.count * sizeof(waiter_t) + wait.request.memory if wait != NULL else 0

# ---- what is ready -------------------------------------------------------------------------------------------

cdef void waiting_changed(interest_t* key) noexcept nogil:
    cdef engine_t* e = key.db.engine
    if key.ready or key.waiting == 0:
        return
    key.ready = True
    link_append(&e.keyspace.ready, &key.ready_link)
    e.due |= DUE_WAITERS


cdef void waiting_times_changed(interest_t* key) noexcept nogil:
    if key.waiting_on_time:
        waiting_changed(key)


cdef void waiting_forget_ready(interest_t* key) noexcept nogil:
    if key.ready:
        key.ready = False
        link_remove(&key.db.engine.keyspace.ready, &key.ready_link)


cdef struct _change_t:
    db_t* db
    db_t* replacement


cdef void _replaced(void* ctx, void* element) noexcept nogil:
    cdef _change_t* change = <_change_t*>ctx
    cdef interest_t* key = <interest_t*>element
    cdef uint64_t hash = ht_hash(change.db.keys, &key.key[0], key.nk)
    if db_find(change.db, &key.key[0], key.nk, hash) != NULL or (
        change.replacement != NULL and db_find(change.replacement, &key.key[0], key.nk, hash) != NULL
    ):
        waiting_changed(key)


cdef void waiting_replace_db(db_t* db, db_t* replacement) noexcept nogil:
    cdef _change_t change
    change.db = db
    change.replacement = replacement
    if db.engine.keyspace.blocking_keys:
        interest_each(db, _replaced, &change)


cdef void _look_again(void* ctx, void* element) noexcept nogil:
    cdef interest_t* key = <interest_t*>element
    cdef waiter_t* place = <waiter_t*>key.waiters.first
    while place != NULL:
        place.wait.held = False
        blocked_deadline_counts(place.wait.client)
        place = <waiter_t*>place.link.next
    waiting_changed(key)


cdef void waiting_look_again(engine_t* e) noexcept nogil:
    cdef int i
    if not e.keyspace.held_back:
        return
    e.keyspace.held_back = False
    for i in range(e.keyspace.opened):
        interest_each(e.keyspace.dbs[i], _look_again, NULL)


cdef bint waiting_is_held(client_t* c) noexcept nogil:
    cdef wait_t* wait = _wait(c)
    return wait != NULL and wait.held

# ---- serving -----------------------------------------------------------------------------------------------

cdef void _serve(wait_t* wait, serve_fn serve) noexcept nogil:
    """While its request runs the client is not blocked; if it is afterwards, it waits on."""
    cdef client_t* c = wait.client
    cdef engine_t* e = c.engine
    cdef bint goes_on
    if c.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY):
        return
    e.clients.served = c
    c.flags &= ~<uint64_t>CLIENT_BLOCKED
    wait.held = not serve(c, wait.request)
    goes_on = wait.held or c.flags & CLIENT_BLOCKED
    c.flags |= CLIENT_BLOCKED
    if wait.held:
        e.keyspace.held_back = True
    if not goes_on:
        c.unblock_fn = NULL  # it has its reply
        unblock_client(c, False)
    e.clients.served = NULL


cdef void _serve_key(interest_t* key, serve_fn serve) noexcept nogil:
    """All who wait for it now, once: who comes back to wait meanwhile is not looked at again. A key that is there may
    have expired for one of them and not for the next (import-mode)."""
    cdef uint64_t hash = ht_hash(key.db.keys, &key.key[0], key.nk)
    cdef size_t left = key.waiting
    cdef waiter_t* place = <waiter_t*>key.waiters.first
    cdef waiter_t* following
    cdef entry_t* entry
    cdef int type
    while place != NULL and left:
        left -= 1
        following = <waiter_t*>place.link.next  # serving ends the wait of nobody else
        entry = db_find(key.db, &key.key[0], key.nk, hash)
        if entry == NULL and key.waiting_on_nokey == 0:
            return
        type = _NO_KEY if entry == NULL or is_expired(place.wait.client, entry) else entry_type(entry)
        if type == place.wait.type or place.wait.flags & WAIT_ON_NOKEY:
            place.wait.sees_new = _stream(entry) != place.had
            _serve(place.wait, serve)
        place = following


cdef void waiting_serve(engine_t* e, serve_fn serve) noexcept nogil:
    cdef interest_t* key
    while e.keyspace.ready.first != NULL:
        key = <interest_t*>e.keyspace.ready.first
        waiting_forget_ready(key)
        key.pinned = True
        _serve_key(key, serve)
        key.pinned = False
        interest_release(key)
    e.due &= ~<unsigned int>DUE_WAITERS

# ---- check -------------------------------------------------------------------------------------------------

cdef struct _queues_t:
    size_t keys
    size_t keys_on_nokey
    size_t places
    bint wrong


cdef void _check_queue(void* ctx, void* element) noexcept nogil:
    cdef _queues_t* q = <_queues_t*>ctx
    cdef interest_t* key = <interest_t*>element
    cdef waiter_t* place = <waiter_t*>key.waiters.first
    cdef size_t waiters = 0
    cdef size_t on_nokey = 0
    cdef size_t on_time = 0
    while place != NULL:
        waiters += 1
        on_nokey += place.wait.flags & WAIT_ON_NOKEY != 0
        on_time += place.wait.flags & WAIT_ON_TIME != 0
        q.wrong |= place.key != key or _wait(place.wait.client) != place.wait
        q.wrong |= not place.wait.client.flags & CLIENT_BLOCKED
        place = <waiter_t*>place.link.next
    q.wrong |= not links_are_right(&key.waiters) or key.waiting != waiters
    q.wrong |= key.waiting_on_nokey != on_nokey or key.waiting_on_time != on_time
    q.keys += waiters != 0
    q.keys_on_nokey += on_nokey != 0
    q.places += waiters


cdef bint _ready_list_is_right(const keyspace_t* k) noexcept nogil:
    cdef interest_t* key = <interest_t*>k.ready.first
    while key != NULL:
        if not key.ready or key.waiting == 0:
            return False
        key = <interest_t*>key.ready_link.next
    return links_are_right(&k.ready)


cdef int waiting_check(engine_t* e) noexcept nogil:
    cdef keyspace_t* k = e.keyspace
    cdef client_t* c = client_first(e)
    cdef _queues_t q
    cdef size_t places = 0
    cdef int i
    q.keys = q.keys_on_nokey = q.places = 0
    q.wrong = False
    for i in range(k.opened):
        interest_each(k.dbs[i], _check_queue, &q)
    if q.wrong:
        return 1
    if q.keys != k.blocking_keys or q.keys_on_nokey != k.blocking_keys_on_nokey:
        return 2
    if not _ready_list_is_right(k) or (k.ready.first != NULL and not e.due & DUE_WAITERS):
        return 3
    while c != NULL:
        if _wait(c) != NULL:
            if c.blocked_until_ms and not c.deadline_index and not _wait(c).held:
                return 4
            places += _wait(c).count
        c = client_next(c)
    if places != q.places:  # only connections wait
        return 4
    return 5 if k.ready.first != NULL and e.current == NULL and not e.persist.loading else 0
