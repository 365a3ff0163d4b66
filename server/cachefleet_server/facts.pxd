"""What can be read off an engine, for the facade."""

from cachefleet_server.core.engine cimport engine_t

cdef object check(engine_t* e)  # what is wrong, in words; O(everything)
cdef object counters(engine_t* e)
cdef object stats(engine_t* e)
cdef object clients_memory(engine_t* e)
cdef object command_stats(engine_t* e)
cdef object tick_histogram(engine_t* e)
cdef object error_stats(engine_t* e)
cdef object keyspace(engine_t* e)
cdef object allocator_stats(engine_t* e)
cdef object memory_usage(engine_t* e, int db, bytes key, size_t samples)
cdef object value_facts(engine_t* e, int db, bytes key)
cdef object stream_facts(engine_t* e, int db, bytes key)
cdef object table_memory(engine_t* e)
cdef object table_stats(engine_t* e, int db, bint chains)
cdef object member_table_stats(engine_t* e, int db, bytes key, bint chains)
cdef object digest(engine_t* e)  # 20 bytes
cdef object value_digest(engine_t* e, int db, bytes key)  # zeros for a key that is not there
