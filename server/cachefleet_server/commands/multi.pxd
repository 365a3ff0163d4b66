"""MULTI, EXEC, DISCARD, WATCH, UNWATCH; queueing for the dispatcher."""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport client_t, engine_t

cdef int register_multi(engine_t* e) except -1
cdef void multi_queue(client_t* c) noexcept nogil  # copies c.cmd and c.argv into the transaction and replies QUEUED
cdef void multi_discard(client_t* c) noexcept nogil  # frees the queue, leaves MULTI; does not unwatch
cdef uint64_t multi_cmd_flags(const client_t* c) noexcept nogil  # all flags of the queued commands, ORed
cdef int multi_count(const client_t* c) noexcept nogil  # -1 when not in MULTI
cdef size_t multi_memory(const client_t* c) noexcept nogil
cdef void multi_flag_error(client_t* c) noexcept nogil  # a command was refused while queueing: EXEC will abort
cdef void exec_abort(client_t* c, const char* why) noexcept nogil
    # EXEC itself was refused: "-EXECABORT Transaction discarded because of: <why>"; the transaction is gone.
