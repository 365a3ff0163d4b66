"""A request that must outlive the buffers it came in: one of a transaction, or one that waits.

    kept_request_t | arg_t[argc] | bytes

One allocation holds all of it. When the command came as canonical RESP its bytes are copied in one piece and the
arguments point into them; otherwise they are laid end to end. Hashes that were computed come along.
"""

from cachefleet_server.core.engine cimport client_t, command_t
from cachefleet_server.resp.input cimport request_t

cdef struct kept_request_t:
    command_t* cmd
    request_t request
    size_t memory  # of the allocation

cdef kept_request_t* request_keep(const client_t* c) noexcept nogil  # what c runs now; freed with zfree
