"""Requests that are kept; see request.pxd."""

from libc.string cimport memcpy

from cachefleet_server.core.engine cimport arg_t
from cachefleet_server.ds.zmalloc cimport zmalloc


cdef kept_request_t* request_keep(const client_t* c) noexcept nogil:
    cdef size_t head = sizeof(kept_request_t) + c.argc * sizeof(arg_t)
    cdef size_t content = 0
    cdef kept_request_t* kept
    cdef request_t* r
    cdef char* at
    cdef int i
    for i in range(c.argc):
        content += c.argv[i].len
    kept = <kept_request_t*>zmalloc(c.engine.heap, head + (c.raw_len if c.raw != NULL else content))
    r = &kept.request
    at = <char*>kept + head
    kept.cmd = c.cmd
    kept.memory = head + (c.raw_len if c.raw != NULL else content)
    r.argc = c.argc
    r.argv = <arg_t*>(<char*>kept + sizeof(kept_request_t))
    r.bytes = content
    r.raw = NULL
    r.raw_len = 0
    if c.raw != NULL:
        memcpy(at, c.raw, c.raw_len)
        r.raw = at
        r.raw_len = c.raw_len
    for i in range(c.argc):
        r.argv[i] = c.argv[i]
        if c.raw != NULL:
            r.argv[i].ptr = r.raw + (c.argv[i].ptr - c.raw)
        else:
            memcpy(at, c.argv[i].ptr, c.argv[i].len)
            r.argv[i].ptr = at
            at += c.argv[i].len
    return kept
