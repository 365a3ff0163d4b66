"""From a parsed request to an executed command: lookup, checks, call, statistics, propagation."""

from cachefleet_server.core.engine cimport client_t, command_t, engine_t, protocol_t
from cachefleet_server.resp.input cimport request_t

cdef const protocol_t* resp_protocol() noexcept nogil
cdef command_t* resolve(engine_t* e, const request_t* r) noexcept nogil
    # The row of a request, a subcommand's where there is one; NULL if unknown.
cdef bint is_barrier(const engine_t* e, const command_t* cmd) noexcept nogil
    # What follows in the pipeline must not be parsed before this command has run.
cdef void dispatch(client_t* c, command_t* cmd, const request_t* r) noexcept nogil
    # Admit, then queue or call; if no other command runs, command_ended where something is due.
cdef void dispatch_link(client_t* c, command_t* cmd, const request_t* r) noexcept nogil
    # The same for the stream of our primary.
cdef void command_ended(engine_t* e) noexcept nogil  # what engine.due says; not while a command runs
cdef void execute_as(client_t* actor, request_t* r) noexcept nogil
    # A request that came over no connection, in the actor's role (reactor/connection: actor_new). Re-entrant, but an
    # actor runs one request at a time.
cdef void call(client_t* c) noexcept nogil  # runs c.cmd; engine.call_fn
cdef void parked_run(client_t* c) noexcept nogil  # CLIENT PAUSE is over
cdef size_t parked_memory(const client_t* c) noexcept nogil
cdef void parked_free(client_t* c) noexcept nogil
