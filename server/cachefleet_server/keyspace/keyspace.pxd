"""The data set as a whole: made, emptied, exchanged, freed.

An engine has one keyspace. Another can be filled beside it, as a load that may fail does, and then take its place:
keyspace_swap exchanges contents, never identities. A database keeps its address, number and watchers, so clients, which
point to one, notice nothing, and engine.keyspace never changes; what moves are the tables, with the places that
cursors have in them. A snapshot has the tables themselves and keeps what it still reads when they are freed.

A database is made when somebody first uses it, and stays until the keyspace goes. Those that nobody used cost nothing,
neither memory nor time, however many there may be.

Cost of a swap: O(databases in use + watched keys), whatever they hold.
"""

from cachefleet_server.core.engine cimport db_t, engine_t, keyspace_t

cdef keyspace_t* keyspace_new(engine_t* e, int count) noexcept nogil  # empty; the caller's
cdef db_t* keyspace_db(keyspace_t* k, int id) noexcept nogil
    # A database by its number, 0 <= id < k.count, made if need be. Its address never changes.
cdef void keyspace_free(engine_t* e, keyspace_t* k, bint lazy) noexcept nogil
    # The engine's own (not lazy: the helper thread is gone), or one whose content was exchanged or is not wanted.
cdef void keyspace_swap(engine_t* e, keyspace_t* other) noexcept nogil
    # The engine's keyspace has the content of `other` from now on, and `other` the old one. As many databases in both.
cdef void keyspace_flush(engine_t* e, int dbid, bint lazy) noexcept nogil  # one database, or -1 = all
cdef void keyspace_swap_dbs(engine_t* e, int a, int b) noexcept nogil  # SWAPDB
cdef void keyspace_cron(engine_t* e) noexcept nogil
    # <= 1 ms: rehash steps and shrinking of tables when activerehashing
